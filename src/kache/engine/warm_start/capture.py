"""Capture: keep what a finished build left in a profile directory as whole units."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kache.cargo import fingerprints
from kache.cargo.fingerprints import FoundUnit
from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo
from kache.compilers.rustc.roots import Roots
from kache.core.digest import hash_parts
from kache.core.entry import Artifact, Entry, InputMemo, Role
from kache.core.unit import Unit, UnitFile
from kache.engine.warm_start.traces import Trace
from kache.errors import StoreError
from kache.store.local import LocalStore, Staged

log = logging.getLogger("kache")
INLINE_BYTES = 16 << 10
MAX_RUN_FILES = 2_000
MAX_RUN_BYTES = 256 << 20
_SHARED = (Role.RLIB, Role.RMETA)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a capture looks.

    Attributes:
        target_dir: real path.
        profile: below it.
        host: identity of the tools that build scripts and links find.
    """

    target_dir: bytes
    profile: str
    host: bytes

    @property
    def directory(self) -> bytes:
        """The profile directory."""
        return os.path.join(self.target_dir, os.fsencode(self.profile))


class Capture:
    """Makes units of what is in a profile directory.

    Args:
        store: gets the outputs of build scripts' runs.
        digests: the stat memo.
        place: where.
        traces: the build's compiles by unit hash.
        before: units captured earlier, by (directory, stem): those the build found fresh are carried over.
    """

    def __init__(
        self,
        store: LocalStore,
        digests: FileDigests,
        place: Place,
        traces: Mapping[bytes, Trace],
        before: Mapping[tuple[str, str], Unit],
    ) -> None:
        self._store = store
        self._digests = digests
        self._place = place
        self._traces = traces
        self._before = before
        self._compiled: dict[str, Trace] = {}

    def units(self) -> tuple[Unit, ...]:
        """Every unit that can be placed elsewhere, in the order of their directories."""
        found = list(fingerprints.units(self._place.directory))
        for unit in found:
            trace = self._traces.get(unit.hash)
            if trace is not None and not unit.is_run:
                self._compiled[unit.fingerprint] = trace
        made = []
        for unit in found:
            try:
                captured = self._run(unit) if unit.is_run else self._compile(unit)
            except (OSError, StoreError) as error:
                log.info("not captured %s: %s", os.fsdecode(unit.directory), error)
                continue
            if captured is not None:
                made.append(captured)
        return tuple(made)

    # ---- a compile

    def _compile(self, unit: FoundUnit) -> Unit | None:
        trace = self._traces.get(unit.hash)
        if trace is None:
            return self._earlier(unit)
        roots, entry = trace.around.roots, trace.entry
        files = [self._output(trace, artifact) for artifact in entry.artifacts]
        dep_info = trace.out_dir + b"/" + os.fsencode(entry.dep_info_name)
        files.append(self._text(dep_info, depinfo.template(_read(dep_info), roots.pairs())))
        files += self._fingerprint_files(unit, roots)
        externs, natives = self._keyed(trace)
        return Unit(
            directory=self._relative(self._fingerprint_dir(unit)),
            stem=unit.stem,
            fingerprint=unit.fingerprint,
            deps=unit.deps,
            entry_key=entry.key,
            weak_key=entry.weak_key,
            externs=externs,
            natives=natives,
            cwd=roots.normalise(roots.cwd),
            is_path=not roots.normalise(roots.cwd).startswith(b"<cargo-home>"),
            tied_to=self._place.target_dir if trace.is_tied else b"",
            host=self._place.host if natives else b"",
            compile_ms=entry.compile_ms,
            files=tuple(files),
        )

    def _earlier(self, unit: FoundUnit) -> Unit | None:
        """A unit this build found fresh is still what an earlier capture kept, if cargo's hash of it is."""
        before = self._before.get((self._relative(self._fingerprint_dir(unit)), unit.stem))
        return before if before is not None and before.fingerprint == unit.fingerprint else None

    def _output(self, trace: Trace, artifact: Artifact) -> UnitFile:
        path = trace.out_dir + b"/" + os.fsencode(artifact.name)
        found = os.stat(path)
        if found.st_size != artifact.size:
            raise FileNotFoundError(f"{artifact.name} is no longer what was recorded")
        return UnitFile(
            path=self._relative(path),
            mtime_ns=found.st_mtime_ns,
            executable=artifact.executable,
            digest=artifact.digest,
            size=artifact.size,
            shared=artifact.role in _SHARED,
        )

    def _keyed(self, trace: Trace) -> tuple[tuple[tuple[str, bytes], ...], tuple[tuple[bytes, bytes], ...]]:
        externs, natives = [], []
        for path, digest in trace.files.items():
            if not digest:
                continue
            if path.startswith(self._place.target_dir + b"/") and path.endswith((b".rlib", b".rmeta", b".so")):
                externs.append((self._relative(path), digest))
            else:
                natives.append((trace.around.roots.normalise(path), digest))
        return tuple(externs), tuple(natives)

    # ---- a build script's run

    def _run(self, unit: FoundUnit) -> Unit | None:
        """Only of a package that is no part of the checkout: what it read there is not known."""
        earlier = self._earlier(unit)
        trace = next((self._compiled[dep] for dep in unit.deps if dep in self._compiled), None)
        if trace is None or earlier is not None:
            return earlier
        roots = trace.around.roots
        package = trace.around.env.get(b"CARGO_MANIFEST_DIR", b"")
        if not roots.normalise(package).startswith(b"<cargo-home>") or trace.is_tied:
            return None
        declared = self._declared(unit, package, roots)
        base = self._place.directory + b"/build/" + unit.directory
        if declared is None or not os.path.isdir(base):
            return None
        files, is_tied = self._run_files(base, roots)
        if files is None:
            return None
        return Unit(
            directory=self._relative(self._fingerprint_dir(unit)),
            stem=unit.stem,
            fingerprint=unit.fingerprint,
            deps=unit.deps,
            entry_key=b"",
            weak_key=b"",
            externs=(),
            natives=declared,
            cwd=roots.normalise(package),
            is_path=False,
            tied_to=self._place.target_dir if is_tied else b"",
            host=self._place.host,
            compile_ms=0,
            files=(*files, *self._fingerprint_files(unit, roots)),
        )

    def _declared(self, unit: FoundUnit, package: bytes, roots: Roots) -> tuple[tuple[bytes, bytes], ...] | None:
        declared = []
        for name in unit.watched or ():
            path = os.path.join(package, os.fsencode(name))
            digest = content_of(path, self._digests)
            if digest is None:
                return None
            declared.append((roots.normalise(path), digest))
        return tuple(declared)

    def _run_files(self, base: bytes, roots: Roots) -> tuple[list[UnitFile] | None, bool]:
        """The files of a run; whether one of them holds a path of this checkout that cargo does not replace."""
        own_out = base + b"/out"
        files: list[UnitFile] = []
        staged: list[Staged] = []
        is_tied = False
        total = 0
        for path, found in _tree(base):
            total += found.st_size
            if len(files) >= MAX_RUN_FILES or total > MAX_RUN_BYTES or not stat.S_ISREG(found.st_mode):
                self._discard(staged)
                return None, False
            small = found.st_size <= INLINE_BYTES
            content = _read(path) if small else b""
            if small:
                # cargo itself puts the new OUT_DIR in place of the old one in `output` (by `root-output`).
                text = content.replace(own_out, b"") if not path.startswith(own_out + b"/") else content
                is_tied |= any(needle in text for needle in roots.needles())
                digest = b""
            else:
                item = self._store.stage(path, share=False, needles=roots.needles())
                staged.append(item)
                is_tied |= bool(item.found)
                digest = item.digest
            files.append(
                UnitFile(
                    path=self._relative(path),
                    mtime_ns=found.st_mtime_ns,
                    executable=bool(found.st_mode & 0o111),
                    digest=digest,
                    size=found.st_size,
                    content=content,
                )
            )
        if staged:
            self._keep(base, files, staged)
        return files, is_tied

    def _keep(self, base: bytes, files: list[UnitFile], staged: list[Staged]) -> None:
        """An entry of its own holds the large files, so that they count, and go, like any other."""
        large = [file for file in files if file.digest]
        artifacts = tuple(
            Artifact(os.path.basename(file.path), Role.LINKED, file.digest, file.size, file.executable)
            for file in large
        )
        key = hash_parts([b"run", *(file.digest for file in large)])
        name = os.fsdecode(os.path.basename(base)).rpartition("-")[0].replace("-", "_")
        entry = Entry(key, key, name, "build-script-run", 0, artifacts, "", b"", b"", b"", ())
        self._store.commit(entry, InputMemo(key, key, ()), staged)

    def _discard(self, staged: list[Staged]) -> None:
        for item in staged:
            self._store.discard(item)

    # ---- files

    def _fingerprint_files(self, unit: FoundUnit, roots: Roots) -> list[UnitFile]:
        """The unit's own files of its fingerprint directory; the one that makes cargo believe in it comes last."""
        directory = self._fingerprint_dir(unit)
        stem = os.fsencode(unit.stem)
        names = [b"invoked.timestamp", b"dep-" + stem, stem + b".json"]
        files = [self._text(directory + b"/" + name) for name in names if os.path.exists(directory + b"/" + name)]
        output = directory + b"/output-" + stem
        if os.path.exists(output):
            files.append(self._text(output, roots.to_template(_read(output), json=True)))
        files.append(self._text(directory + b"/" + stem))
        return files

    def _text(self, path: bytes, template: bytes | None = None) -> UnitFile:
        content = _read(path) if template is None else template
        mtime_ns = os.stat(path).st_mtime_ns
        return UnitFile(self._relative(path), mtime_ns, content=content, is_template=template is not None)

    def _fingerprint_dir(self, unit: FoundUnit) -> bytes:
        return b"/".join((self._place.directory, fingerprints.FINGERPRINTS, unit.directory))

    def _relative(self, path: bytes) -> str:
        return os.fsdecode(os.path.relpath(path, self._place.target_dir))


def content_of(path: bytes, digests: FileDigests) -> bytes | None:
    """Content of a declared path: of a file, of a directory with everything below, empty for one that is absent.

    Returns:
        None for a directory too large to look at each time.
    """
    if not os.path.lexists(path):
        return b""
    if not os.path.isdir(path):
        return digests.digest(path)
    parts: list[bytes] = []
    for file, found in _tree(path):
        if len(parts) > 2 * MAX_RUN_FILES:
            return None
        parts += [os.path.relpath(file, path), digests.digest(file) if stat.S_ISREG(found.st_mode) else b"?"]
    return hash_parts(parts)


def _tree(base: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    for folder, folders, names in os.walk(base):
        folders.sort()
        for name in (*sorted(names), *(name for name in folders if os.path.islink(os.path.join(folder, name)))):
            path = os.path.join(folder, name)
            yield path, os.lstat(path)


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
