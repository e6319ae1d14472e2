"""Place: put units into a target directory, as far as they fit this checkout."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from kache.cargo import fingerprints
from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo
from kache.compilers.rustc.roots import TARGET_TAG, Roots
from kache.core.digest import Digest, hash_bytes
from kache.core.entry import Artifact, InputMemo, Role
from kache.core.outcome import Reason
from kache.core.unit import Unit, UnitFile
from kache.engine.warm_start.copies_ahead import CopiesAhead
from kache.engine.warm_start.declared import newest_ns
from kache.engine.warm_start.inputs import Checkout, Inputs
from kache.engine.warm_start.lock import locked
from kache.engine.warm_start.places import roots_of
from kache.engine.warm_start.present import Present, needed_in
from kache.engine.warm_start.script_runs import told, told_by
from kache.engine.warm_start.strays import wrote_into
from kache.engine.warm_start.traces import Trace
from kache.engine.warm_start.watched_runs import own_env
from kache.errors import StoreError
from kache.store.local import LocalStore, RestoreHow, RestoreMethod

log = logging.getLogger("kache")
# What cargo writes when it makes the directory itself. Source: cargo-util `exclude_from_backups_and_indexing`.
TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This file is a cache directory tag created by cargo.\n"
    b"# For information about cache directory tags see https://bford.info/cachedir/\n"
)
_DEP = "/dep-"
_UPLIFTED = ("bin-", "example-")
_WITH_TMP = ("test-integration-test-", "bench-")
"""cargo makes `tmp` for those, when it compiles them. Source: cargo `core/compiler/mod.rs`, `CARGO_TARGET_TMPDIR`."""


class Left(NamedTuple):
    """Why a unit was left to cargo.

    Attributes:
        reason: it.
        what: the input that it is about, as why-miss labels it (`file:src/lib.rs`); empty where it is about none.
    """

    reason: Reason
    what: str = ""


@dataclass(slots=True)
class Placed:
    """What came of it.

    Attributes:
        units: those in place.
        left_out: a unit's place to why it was not placed.
        linked_bytes, cloned_bytes, copied_bytes: how files got there.
    """

    units: list[Unit] = field(default_factory=list)
    left_out: dict[tuple[str, str], Left] = field(default_factory=dict)
    linked_bytes: int = 0
    cloned_bytes: int = 0
    copied_bytes: int = 0


class Placer:
    """Places sets into one checkout.

    Args:
        store: where memos and blobs are.
        digests: the stat memo.
        checkout: where to.
        ahead: what copies large files meanwhile.
    """

    def __init__(self, store: LocalStore, digests: FileDigests, checkout: Checkout, ahead: CopiesAhead) -> None:
        self.placed = Placed()
        self._store = store
        self._digests = digests
        self._checkout = checkout
        self._artifacts: dict[str, bytes] = {}
        self._inputs = Inputs(checkout, digests, self._artifacts)
        self._ahead = ahead
        self._dates: dict[str, int] = {}
        self._rmetas: dict[str, tuple[str, int]] = {}
        self._directories: dict[bytes, int] = {}
        self._present = Present(b"")
        self._roots = roots_of(checkout, checkout.target_dir)
        self._needed = needed_in(checkout.target_dir) if checkout.fills_up else frozenset()
        self._done: set[str] = set()
        self._told: dict[str, bytes] = {}

    def place(self, profile: str, units: Sequence[Unit]) -> None:
        """Place what fits, the first version of a unit that does; nothing at all where cargo holds the profile's lock.

        What is built for this machine comes first: with `--target` its units are what others depend on.

        Args:
            profile: directory below the target directory.
            units: those that may be of use, in the order of `in_order`.
        """
        directory = os.path.join(self._checkout.target_dir, os.fsencode(profile))
        layout = os.path.dirname(directory)  # the target directory, or that of a triple below it
        for made in dict.fromkeys((self._checkout.target_dir, layout)):
            self._tag(made)
        self._make(directory)
        self._roots = roots_of(self._checkout, layout)
        with locked(directory, self._checkout.umask) as free:
            if not free:
                return
            present = Present(directory)
            if present.units and not self._checkout.fills_up:
                return
            self._present = present
            self._done.update(present.units)
            self._dates.update(present.dates())
            self._told.update(
                (each, told_by(directory, run, self._digests)) for each, run in present.units.items() if run.is_run
            )
            base = f"{profile}/{os.fsdecode(fingerprints.FINGERPRINTS)}"
            taken = {(f"{base}/{os.fsdecode(name)}", stem) for name, stem in present.places()}
            for unit in units:
                if unit.place in taken:
                    continue
                left = self._verified_and_put(unit)
                if left is not None:
                    self.placed.left_out.setdefault(unit.place, left)
                    continue
                self.placed.left_out.pop(unit.place, None)
                taken.add(unit.place)
                self._done.add(unit.fingerprint)
                self.placed.units.append(unit)

    def traces(self, toolchain: Digest) -> Iterator[Trace]:
        """Traces of packages' build scripts that are in place while their runs are not.

        cargo runs those now, and what it gets is kept for the next target, as after a compile.
        """
        has_run = {dep for unit in self.placed.units if not unit.entry_key for dep in unit.deps}
        for unit in self.placed.units:
            if not unit.stem.startswith("build-script-") or unit.is_path or unit.fingerprint in has_run:
                continue
            entry = self._store.entry(unit.entry_key)
            outputs = [file.path for file in unit.files if file.digest]
            if entry is not None and outputs:
                roots = self._roots_of(unit)
                at = self._checkout.target_dir + b"/"
                externs = ((at + os.fsencode(path), digest) for path, digest in unit.externs)
                yield Trace(
                    entry=entry,
                    out_dir=os.path.dirname(at + os.fsencode(outputs[0])),
                    extra_filename=b"-" + os.fsencode(unit.directory).rpartition(b"-")[2],
                    roots=roots,
                    package=roots.real(unit.cwd),
                    files=(*externs, *((roots.real(name), digest) for name, digest in unit.natives)),
                    toolchain=toolchain,
                    is_tied=bool(unit.tied_to),
                    is_open=unit.is_open,
                )

    def _verified_and_put(self, unit: Unit) -> Left | None:
        """Verify a unit and place it; why not, or None."""
        roots = self._roots_of(unit)
        left = self._elsewhere(unit) or self._misfit(unit) or self._changed(unit, roots)
        if left is not None:
            return left
        try:
            self._dates[unit.fingerprint] = self._put_all(unit, roots)
        except (OSError, StoreError) as error:
            log.info("not placed %s: %s", unit.directory, error)
            self._withdraw(unit)
            return Left(Reason.NOT_RESTORED)
        return None

    def _elsewhere(self, unit: Unit) -> Left | None:
        """Whether it was made for another place, host or environment."""
        here = self._checkout
        if unit.is_open:
            # cargo asks once, and may be asked for this unit much later, or stop before it comes to it.
            return Left(Reason.UNTRACKED)
        if unit.cargo_home and unit.cargo_home != here.cargo_home:
            return Left(Reason.OTHER_CARGO_HOME, "env:CARGO_HOME")
        if unit.tied_to and unit.tied_to != here.tie:
            return Left(Reason.HOLDS_PATH)
        if unit.host and unit.host != here.host:
            return Left(Reason.HOST_CHANGED)
        if unit.steering != here.steering:
            return Left(Reason.VARIABLES_DIFFER)
        return None

    def _misfit(self, unit: Unit) -> Left | None:
        """Whether it fits what is in place already."""
        is_taken = any(file.digest and self._is_taken(file.path) for file in unit.files)
        if is_taken or unit.fingerprint in self._needed:
            return Left(Reason.IN_USE)
        if any(dep not in self._done for dep in unit.deps):
            return Left(Reason.DEPENDENCY_LEFT_OUT)
        if any(self._told.get(run) != digest for run, digest in unit.runs):
            return Left(Reason.DEPENDENCY_DIFFERS)
        for path, digest in unit.externs:
            if self._artifact(path) != digest:
                return Left(Reason.DEPENDENCY_DIFFERS, f"extern:{os.path.basename(path)}")
        return None

    def _is_taken(self, path: str) -> bool:
        """Whether another unit has a file of that name: a cdylib's has no hash in it, whatever the features."""
        if path in self._artifacts:
            return True
        return bool(self._present.units) and os.path.lexists(os.path.join(self._checkout.target_dir, os.fsencode(path)))

    def _artifact(self, path: str) -> bytes | None:
        """Content of an artifact below the target directory: placed just now, or there before."""
        digest = self._artifacts.get(path)
        if digest is None and self._present.units:
            digest = self._inputs.content(os.path.join(self._checkout.target_dir, os.fsencode(path)))
        return digest

    def _changed(self, unit: Unit, roots: Roots) -> Left | None:
        """Whether what it read is what is here."""
        for name, digest in unit.natives:
            if self._inputs.content(roots.real(name)) != digest:
                return Left(Reason.INPUT_CHANGED_SINCE, f"file:{os.fsdecode(name)}")
        if not unit.entry_key:
            return self._run_changed(unit, roots)
        memo = self._store.memo(unit.weak_key, unit.entry_key)
        if memo is None:
            return Left(Reason.NOT_RESTORED)
        changed = self._inputs.what_changed(memo, roots)
        if changed is not None:
            return Left(Reason.INPUT_CHANGED_SINCE, changed)
        if unit.is_path and self._inputs.newest_ns > self._checkout.date_ns:
            return Left(Reason.INPUT_TOO_NEW)
        return None

    def _run_changed(self, unit: Unit, roots: Roots) -> Left | None:
        """The same for a build script's run, whose declared paths were compared."""
        # Who looks into a package edits it where it was unpacked, files that its script declares or does not.
        if not unit.is_path and wrote_into(roots.real(unit.cwd)):
            return Left(Reason.INPUT_CHANGED_SINCE, f"file:{os.fsdecode(unit.cwd)}")
        newest = max((newest_ns(roots.real(name)) for name, _ in unit.natives), default=0)
        if unit.observed:
            seen = InputMemo(b"", b"", unit.observed)
            changed = self._inputs.what_changed(seen, roots, own_env(self._checkout.env))
            if changed is not None:
                return Left(Reason.INPUT_CHANGED_SINCE, changed)
            newest = max(newest, self._inputs.newest_ns)
        return Left(Reason.INPUT_TOO_NEW) if newest > self._checkout.date_ns else None

    def _roots_of(self, unit: Unit) -> Roots:
        roots = self._roots
        cwd = roots.real(unit.cwd)
        return roots if cwd == roots.cwd else Roots(roots.all, cwd)

    # ---- files

    def _put_all(self, unit: Unit, roots: Roots) -> int:
        """Write every file; the unit's date as cargo sees it."""
        # Dates of private files are ours to choose: when their content was made, but never before a dependency.
        compiled_with = {path for path, _ in unit.externs}
        floor_ns = max((self._needed_ns(dep, compiled_with) for dep in unit.deps), default=0)
        if not unit.entry_key:
            floor_ns = max([floor_ns, *(newest_ns(roots.real(name)) for name, _ in unit.natives)])
        if not unit.entry_key:
            self._make_out_dir(unit)
        elif unit.stem.startswith(_WITH_TMP):
            self._make(os.path.dirname(self._layout_of(unit)) + b"/tmp")
        dates = [self._put(file, unit, roots, floor_ns) for file in unit.files]
        return self._in_order(unit, max(dates), floor_ns) if unit.entry_key else floor_ns

    def _layout_of(self, unit: Unit) -> bytes:
        """The profile directory of a unit."""
        return os.path.join(self._checkout.target_dir, os.fsencode(unit.directory).rpartition(b"/.fingerprint/")[0])

    def _make_out_dir(self, unit: Unit) -> None:
        """The directory a build script wrote to, which is there if it wrote nothing; and what it told cargo."""
        base = os.path.join(self._layout_of(unit), b"build", os.path.basename(os.fsencode(unit.directory)))
        self._make(base + b"/out")
        small, left = {}, []
        for file in unit.files:
            path = os.path.join(self._checkout.target_dir, os.fsencode(file.path))
            if os.path.dirname(path) == base:
                small[os.path.basename(path)] = file.content
            elif path.startswith(base + b"/out/"):
                left.append((path[len(base) + 5 :], file.digest or hash_bytes(file.content)))
        self._told[unit.fingerprint] = told(small.get(b"output", b""), small.get(b"root-output", b""), left)

    def _put(self, file: UnitFile, unit: Unit, roots: Roots, floor_ns: int) -> int:
        """Write one file; its date if it is an output of the compile, else 0."""
        target = os.path.join(self._checkout.target_dir, os.fsencode(file.path))
        self._make(os.path.dirname(target))
        mode = (0o777 if file.executable else 0o666) & ~self._checkout.umask
        if file.digest:
            date_ns = self._restore(file, target, mode)
            # make and ninja go by the date of what cargo uplifts; nothing in the workspace depends on it.
            if not file.shared and not unit.stem.startswith(_UPLIFTED):
                date_ns = max(self._store.blob_date_ns(file.digest), floor_ns) if unit.entry_key else floor_ns
                os.utime(target, ns=(date_ns, date_ns))
            if file.path.endswith(".rmeta"):
                self._rmetas[unit.fingerprint] = (file.path, date_ns)
            return date_ns
        content = _filled(file, roots) if file.is_template else file.content
        # Only what cargo compares with the sources is dated now, and the sources were found unchanged.
        # What it includes of a run's OUT_DIR is dated as the run was placed, which may be later than then.
        date_ns = max(file.mtime_ns, floor_ns) if unit.entry_key else floor_ns
        if unit.is_path and _DEP in file.path:
            date_ns = self._checkout.date_ns
        _write(target, content, mode, date_ns)
        self.placed.copied_bytes += len(content)
        return 0

    def _needed_ns(self, dep: str, compiled_with: Set[str]) -> int:
        """The date of a dependency that cargo compares with: of its `.rmeta` where only that was needed."""
        path, date_ns = self._rmetas.get(dep, ("", 0))
        if path in compiled_with and path.removesuffix(".rmeta") + ".rlib" not in compiled_with:
            return date_ns
        return self._dates.get(dep, 0)

    def _in_order(self, unit: Unit, date_ns: int, floor_ns: int) -> int:
        """The unit's date, not older than those of its dependencies: units of different builds may be out of order.

        cargo dates a unit by its newest output, so one private file with the date of the newest dependency is enough.
        """
        if date_ns == 0 or floor_ns <= date_ns:
            return date_ns
        outputs = [file for file in unit.files if file.digest]
        chosen = min(outputs, key=lambda file: (not file.path.endswith(".rmeta"), file.size))
        target = os.path.join(self._checkout.target_dir, os.fsencode(chosen.path))
        mode = (0o777 if chosen.executable else 0o666) & ~self._checkout.umask
        private = UnitFile(chosen.path, 0, chosen.executable, chosen.digest, chosen.size)
        self._restore(private, target, mode)
        os.utime(target, ns=(floor_ns, floor_ns))
        if chosen.path.endswith(".rmeta"):
            self._rmetas[unit.fingerprint] = (chosen.path, floor_ns)
        return floor_ns

    def _restore(self, file: UnitFile, target: bytes, mode: int) -> int:
        artifact = Artifact(os.path.basename(file.path), Role.LINKED, file.digest, file.size, file.executable)
        is_shared = file.shared and (not file.executable or self._checkout.links_programs)
        how = RestoreHow.SHARED if is_shared else RestoreHow.PRIVATE
        self._ahead.wait_for(file.digest)
        restored = self._store.restore(artifact, target, mode=mode, how=how)
        self._artifacts[file.path] = file.digest
        if restored.method == RestoreMethod.LINKED:
            self.placed.linked_bytes += restored.bytes
        elif restored.method == RestoreMethod.CLONED:
            self.placed.cloned_bytes += restored.bytes
        else:
            self.placed.copied_bytes += restored.bytes
        return restored.identity.mtime_ns

    def _withdraw(self, unit: Unit) -> None:
        """Take back the file that makes cargo believe in the unit; the rest it will overwrite."""
        with contextlib.suppress(OSError):
            os.unlink(os.path.join(self._checkout.target_dir, os.fsencode(unit.files[-1].path)))

    def _make(self, directory: bytes) -> int:
        """Make a directory as cargo would: this process has a umask of its own.

        Returns:
            Its setgid bit, which those below it have as well: of a directory that a group shares.
        """
        shared = self._directories.get(directory)
        if shared is None:
            try:
                shared = os.stat(directory).st_mode & stat.S_ISGID
            except FileNotFoundError:
                shared = self._make(os.path.dirname(directory))
                os.mkdir(directory)
                os.chmod(directory, shared | (0o777 & ~self._checkout.umask))
            self._directories[directory] = shared
        return shared

    def _tag(self, directory: bytes) -> None:
        """Make a directory with the tag: cargo writes it only where it makes the directory itself."""
        if not os.path.isdir(directory):
            self._make(directory)
            _write(directory + b"/" + TARGET_TAG, TAG, 0o666 & ~self._checkout.umask)


def in_order(units: Sequence[Unit]) -> Iterator[Unit]:
    """Dependencies before what depends on them; versions of one unit in the order given. Pure."""
    versions: dict[str, list[Unit]] = {}
    for unit in units:
        versions.setdefault(unit.fingerprint, []).append(unit)
    done: set[str] = set()

    def visit(fingerprint: str) -> Iterator[Unit]:
        if fingerprint in done:
            return
        done.add(fingerprint)
        found = versions[fingerprint]
        for dep in dict.fromkeys(dep for unit in found for dep in unit.deps):
            if dep in versions:
                yield from visit(dep)
        yield from found

    for fingerprint in versions:
        yield from visit(fingerprint)


def _filled(file: UnitFile, roots: Roots) -> bytes:
    if os.path.basename(file.path).startswith("output-"):
        return roots.from_template(file.content, json=True)
    return depinfo.fill(file.content, roots.pairs())


def _write(path: bytes, content: bytes, mode: int, date_ns: int | None = None) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, mode)
    except FileExistsError:  # left by a build that was broken off; it may be somebody else's file by a link
        os.unlink(path)
        fd = os.open(path, flags, mode)
    try:
        if os.write(fd, content) != len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        os.fchmod(fd, mode)  # this process has a umask of its own
        if date_ns is not None:
            os.utime(fd, ns=(date_ns, date_ns))
    finally:
        os.close(fd)
