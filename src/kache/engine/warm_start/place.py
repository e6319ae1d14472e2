"""Place: put the units of a set into a fresh target directory, as far as they fit this checkout."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo
from kache.compilers.rustc.closure import ENVIRONMENT, Surroundings, holds
from kache.compilers.rustc.roots import Root, Roots
from kache.core.entry import Artifact, InputKind, InputMemo, Role
from kache.core.unit import Unit, UnitFile, UnitSet
from kache.engine.warm_start.capture import content_of
from kache.errors import StoreError
from kache.store.local import LocalStore, RestoreHow, RestoreMethod

log = logging.getLogger("kache")
LOCK_NAME = b".cargo-lock"
TAG_NAME = b"CACHEDIR.TAG"
# What cargo writes when it makes the directory itself. Source: cargo-util `exclude_from_backups_and_indexing`.
TAG = (
    b"Signature: 8a477f597d28d172789f06886806bc55\n"
    b"# This file is a cache directory tag created by cargo.\n"
    b"# For information about cache directory tags see https://bford.info/cachedir/\n"
)
_DEP = "/dep-"
_UPLIFTED = ("bin-", "example-")


@dataclass(slots=True)
class Placed:
    """What came of it.

    Attributes:
        units: those in place.
        left_out: unit (directory name and stem) to the reason it was not placed.
        linked_bytes, cloned_bytes, copied_bytes: how files got there.
    """

    units: list[Unit] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    linked_bytes: int = 0
    cloned_bytes: int = 0
    copied_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where units are placed.

    Attributes:
        roots: of a workspace member there; other units have another working directory.
        env: cargo's.
        salt: of the digests of variables.
        target_dir: absolute.
        umask: cargo's.
        host: identity of the tools that build scripts and links find.
        date_ns: what is dated now gets this date: a moment before any input was looked at, so that a source saved
            later is newer, whatever the clock's grain.
    """

    roots: Roots
    env: Mapping[bytes, bytes]
    salt: bytes
    target_dir: bytes
    umask: int
    host: bytes
    date_ns: int


class Placer:
    """Places sets into one checkout.

    Args:
        store: where memos and blobs are.
        digests: the stat memo.
        checkout: where to.
    """

    def __init__(self, store: LocalStore, digests: FileDigests, checkout: Checkout) -> None:
        self.placed = Placed()
        self._store = store
        self._digests = digests
        self._checkout = checkout
        self._contents: dict[bytes, bytes | None] = {}
        self._artifacts: dict[str, bytes] = {}
        self._dates: dict[str, int] = {}
        self._newest_ns = 0
        self._directories: set[bytes] = set()

    def place(self, unit_set: UnitSet) -> None:
        """Place what fits of a set; nothing at all where cargo holds the profile's lock."""
        profile = os.path.join(self._checkout.target_dir, os.fsencode(unit_set.profile))
        self._tag()
        self._make(profile)
        with _locked(profile + b"/" + LOCK_NAME) as free:
            if not free or os.path.exists(profile + b"/.fingerprint"):
                return
            done: set[str] = set()
            for unit in in_order(unit_set.units):
                reason = self._reason_against(unit, done)
                if reason:
                    self.placed.left_out[f"{os.path.basename(unit.directory)} {unit.stem}"] = reason
                    continue
                done.add(unit.fingerprint)
                self.placed.units.append(unit)

    def _reason_against(self, unit: Unit, done: set[str]) -> str:
        """Verify a unit and place it; why not, or empty."""
        roots = self._roots_of(unit)
        reason = self._misfit(unit, done) or self._changed(unit, roots)
        if reason:
            return reason
        try:
            self._dates[unit.fingerprint] = self._put_all(unit, roots)
        except (OSError, StoreError) as error:
            log.info("not placed %s: %s", unit.directory, error)
            self._withdraw(unit)
            return "not-restored"
        return ""

    def _misfit(self, unit: Unit, done: set[str]) -> str:
        """Whether it fits what is in place already, and this checkout."""
        if any(dep not in done for dep in unit.deps):
            return "dependency-not-placed"
        if unit.tied_to and unit.tied_to != self._checkout.target_dir:
            return "holds-path"
        if unit.host and unit.host != self._checkout.host:
            return "host-changed"
        if any(self._artifacts.get(path) != digest for path, digest in unit.externs):
            return "dependency-differs"
        return ""

    def _changed(self, unit: Unit, roots: Roots) -> str:
        """Whether what it read is what is here."""
        if any(self._content(roots.real(name)) != digest for name, digest in unit.natives):
            return "native-input-changed"
        if unit.entry_key and not self._inputs_hold(unit, roots):
            return "input-changed"
        if unit.entry_key and unit.is_path and self._newest_ns > self._checkout.date_ns:
            return "input-too-new"
        return ""

    # ---- verification

    def _inputs_hold(self, unit: Unit, roots: Roots) -> bool:
        """All that was read; flags, and variables that rustc tracks, are compared by cargo itself."""
        memo = self._store.memo(unit.weak_key, unit.entry_key)
        return memo is not None and self._memo_holds(memo, roots)

    def _memo_holds(self, memo: InputMemo, roots: Roots) -> bool:
        self._newest_ns = 0
        around = Surroundings(roots, self._checkout.env, (), self._checkout.salt)
        for item in memo.inputs:
            path = roots.real(item.name)
            if item.kind == InputKind.FILE:
                if self._content(path) != item.value:
                    return False
                self._newest_ns = max(self._newest_ns, self._mtime_ns(path))
            elif item.kind == InputKind.ABSENT:
                if os.access(path, os.F_OK):
                    return False
            elif item.kind == InputKind.ENV or (item.kind == InputKind.FACT and item.name != ENVIRONMENT):
                continue
            elif not holds(item, around, self._digests, {}):
                return False
        return True

    def _content(self, path: bytes) -> bytes | None:
        if path not in self._contents:
            try:
                self._contents[path] = content_of(path, self._digests)
            except OSError:
                self._contents[path] = None
        return self._contents[path]

    def _roots_of(self, unit: Unit) -> Roots:
        roots = self._checkout.roots
        cwd = roots.real(unit.cwd)
        return roots if cwd == roots.cwd else Roots(roots.all, cwd)

    # ---- files

    def _put_all(self, unit: Unit, roots: Roots) -> int:
        """Write every file; the unit's date as cargo sees it."""
        # Dates of private files are ours to choose: when their content was made, but never before a dependency.
        floor_ns = max((self._dates.get(dep, 0) for dep in unit.deps), default=0)
        if not unit.entry_key:
            floor_ns = max([floor_ns, *(self._mtime_ns(roots.real(name)) for name, _ in unit.natives)])
        dates = [self._put(file, unit, roots, floor_ns) for file in unit.files]
        return self._in_order(unit, max(dates)) if unit.entry_key else floor_ns

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
            return date_ns
        content = _filled(file, roots) if file.is_template else file.content
        _write(target, content, mode)
        self.placed.copied_bytes += len(content)
        # Only what cargo compares with the sources is dated now, and the sources were found unchanged.
        date_ns = file.mtime_ns if unit.entry_key else floor_ns
        if unit.is_path and _DEP in file.path:
            date_ns = self._checkout.date_ns
        os.utime(target, ns=(date_ns, date_ns))
        return 0

    @staticmethod
    def _mtime_ns(path: bytes) -> int:
        try:
            return os.stat(path).st_mtime_ns
        except OSError:
            return 0

    def _in_order(self, unit: Unit, date_ns: int) -> int:
        """The unit's date, not older than those of its dependencies: units of different builds may be out of order.

        cargo dates a unit by its newest output, so one private file dated now is enough.
        """
        if date_ns == 0 or all(self._dates.get(dep, 0) <= date_ns for dep in unit.deps):
            return date_ns
        outputs = [file for file in unit.files if file.digest]
        chosen = min(outputs, key=lambda file: (not file.path.endswith(".rmeta"), file.size))
        target = os.path.join(self._checkout.target_dir, os.fsencode(chosen.path))
        mode = (0o777 if chosen.executable else 0o666) & ~self._checkout.umask
        private = UnitFile(chosen.path, 0, chosen.executable, chosen.digest, chosen.size)
        return self._restore(private, target, mode)

    def _restore(self, file: UnitFile, target: bytes, mode: int) -> int:
        artifact = Artifact(os.path.basename(file.path), Role.LINKED, file.digest, file.size, file.executable)
        how = RestoreHow.SHARED if file.shared else RestoreHow.PRIVATE
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

    def _make(self, directory: bytes) -> None:
        if directory not in self._directories:
            os.makedirs(directory, mode=0o777 & ~self._checkout.umask, exist_ok=True)
            self._directories.add(directory)

    def _tag(self) -> None:
        """Write the tag: cargo does so only where it makes the directory itself."""
        target_dir = self._checkout.target_dir
        if not os.path.isdir(target_dir):
            self._make(target_dir)
            _write(target_dir + b"/" + TAG_NAME, TAG, 0o666 & ~self._checkout.umask)


def in_order(units: tuple[Unit, ...]) -> Iterator[Unit]:
    """Dependencies before what depends on them. Pure."""
    by_fingerprint: dict[str, Unit] = {unit.fingerprint: unit for unit in units}
    done: set[str] = set()

    def visit(unit: Unit) -> Iterator[Unit]:
        if unit.fingerprint in done:
            return
        done.add(unit.fingerprint)
        for dep in unit.deps:
            if dep in by_fingerprint:
                yield from visit(by_fingerprint[dep])
        yield unit

    for unit in units:
        yield from visit(unit)


def is_virgin(target_dir: bytes) -> bool:
    """Whether cargo has never built here: it then probes the compiler, and nothing can be overwritten."""
    return not os.path.exists(target_dir + b"/.rustc_info.json")


def roots_of(workspace: bytes, target_dir: bytes, env: Mapping[bytes, bytes], sysroot: bytes) -> Roots:
    """The roots of a workspace member, as `kache.compilers.rustc.roots.discover` finds them when it is compiled."""
    home = env.get(b"HOME", b"").rstrip(b"/")
    cargo_home = (env.get(b"CARGO_HOME") or home + b"/.cargo").rstrip(b"/")
    named = ((b"<target>", target_dir), (b"<cargo-home>", cargo_home), (b"<cwd>", workspace), (b"<sysroot>", sysroot))
    remapped = {
        b"<target>": b"/proc/self/cwd/target",
        b"<cargo-home>": b"/cargo",
        b"<cwd>": b"/proc/self/cwd",
    }
    roots = [Root(name, path, remapped.get(name, b"")) for name, path in (*named, (b"<home>", home)) if len(path) > 1]
    unique = {root.path: root for root in reversed(roots)}
    return Roots(tuple(sorted(unique.values(), key=lambda root: -len(root.path))), workspace)


def _filled(file: UnitFile, roots: Roots) -> bytes:
    if "/output-" in file.path:
        return roots.from_template(file.content, json=True)
    return depinfo.fill(file.content, roots.pairs())


def _write(path: bytes, content: bytes, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(fd, content)
    finally:
        os.close(fd)


@contextmanager
def _locked(path: bytes) -> Iterator[bool]:
    """Hold cargo's own lock of a profile directory, without waiting; False if somebody holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)
