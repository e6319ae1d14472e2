"""Capture: keep what a finished build left in a profile directory as whole units."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kache.cargo import fingerprints
from kache.cargo.fingerprints import FoundUnit
from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo
from kache.compilers.rustc.roots import Roots, is_package
from kache.core.entry import Artifact, Entry, InputMemo, Role
from kache.core.unit import RUN_KIND, Unit, UnitFile, run_key
from kache.engine.warm_start.declared import changed_ns, content_of, tree
from kache.engine.warm_start.host import steering
from kache.engine.warm_start.own_paths import OwnPaths
from kache.engine.warm_start.script_runs import links_outside, told_by
from kache.engine.warm_start.strays import first_stray, wrote_into
from kache.engine.warm_start.traces import Trace, unhashed
from kache.engine.warm_start.watched_runs import Watched, inputs_of
from kache.errors import StoreError
from kache.store.local import LocalStore, Staged

log = logging.getLogger("kache")
INLINE_BYTES = 16 << 10
MAX_RUN_FILES = 2_000
MAX_RUN_BYTES = 256 << 20
HOST_KINDS = ("build-script", "proc-macro")
"""What cargo runs, or rustc loads, and nobody strips or links anew: of packages outside the checkout."""
_SHARED = (Role.RLIB, Role.RMETA)
_DEP = "/dep-"
_OF_MACHINE = (
    b"/usr/lib",
    b"/usr/bin/",
    b"/usr/libexec/",
    b"/lib",
    b"/bin/",
    b"/nix/store/",
    b"/gnu/store/",
    b"<sysroot>",
)
"""Where linkers, C runtimes and system libraries are; what is linked from elsewhere somebody may be working on."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a capture looks.

    Attributes:
        target_dir: real path.
        root: of the workspace.
        profile: below it.
        host: identity of the tools that build scripts and links find.
        cargo_home: cargo's.
        umask: cargo's.
        intent: kind of the build.
        steering: `host.steering` of its environment.
        last_compile_ns: when the last compile of the build began, ns: every run that it made ended before.
        trusts_declarations: a build script of the checkout reads nothing but what it declares.
        watched: where such scripts were seen at work; None where they were not.
    """

    target_dir: bytes
    root: bytes
    profile: str
    host: bytes
    cargo_home: bytes = b""
    umask: int = 0o022
    intent: str = ""
    steering: bytes = b""
    last_compile_ns: int = 0
    trusts_declarations: bool = False
    watched: Watched | None = None

    @property
    def tie(self) -> bytes:
        """See `Checkout.tie`."""
        return tie_of(self.target_dir, self.root)

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
        before: units captured earlier, by place: those the build found fresh are carried over.
        compiled: the build's compiles by cargo's hash, of this profile and of those it stands on; it grows.
    """

    def __init__(
        self,
        store: LocalStore,
        digests: FileDigests,
        place: Place,
        traces: Mapping[bytes, Trace],
        before: Mapping[tuple[str, str], Sequence[Unit]],
        compiled: dict[str, Trace],
    ) -> None:
        self._store = store
        self._digests = digests
        self._place = place
        self._traces = traces
        self._before = before
        self._compiled = compiled
        self._told: dict[str, bytes] = {}
        self._unhashed: dict[str, Trace] = {}
        # Variables that cargo does not compare may be others when cargo asks for what was placed.
        self._is_steered = place.steering != steering({})
        outputs = {os.fsencode(each.name) for trace in traces.values() for each in trace.entry.artifacts}
        kept = (file.path for units in before.values() for unit in units for file in unit.files if file.digest)
        outputs.update(os.path.basename(os.fsencode(path)) for path in kept)
        self._outputs = outputs
        self._wrote_elsewhere: bool | None = None

    def units(self) -> tuple[Unit, ...]:
        """Every unit that can be placed elsewhere, in the order of their directories."""
        found = list(fingerprints.units(self._place.directory))
        self._unhashed = self._of_unhashed(found)
        for unit in found:
            trace = self._trace_of(unit)
            if unit.is_run:
                self._told[unit.fingerprint] = told_by(self._place.directory, unit, self._digests)
            elif trace is not None:
                self._compiled[unit.fingerprint] = trace
        made: list[Unit] = []
        for unit in found:
            try:
                made += self._run(unit) if unit.is_run else self._compile(unit)
            except (OSError, StoreError) as error:
                log.info("not captured %s: %s", os.fsdecode(unit.directory), error)
        return tuple(made)

    def _of_unhashed(self, found: Sequence[FoundUnit]) -> dict[str, Trace]:
        """Which unit a compile without a hash was: the only one of that library that no file bears the hash of."""
        wanted = {b"lib-" + name[4:]: trace for name, trace in self._traces.items() if name.startswith(unhashed(""))}
        if not wanted:
            return {}
        hashes = {name.rpartition(b"-")[2].partition(b".")[0] for name in os.listdir(self._place.directory + b"/deps")}
        candidates: dict[bytes, list[str]] = {}
        for unit in found:
            stem = os.fsencode(unit.stem).replace(b"-", b"_").replace(b"lib_", b"lib-", 1)
            if stem in wanted and unit.hash not in hashes:
                candidates.setdefault(stem, []).append(unit.fingerprint)
        return {units[0]: wanted[stem] for stem, units in candidates.items() if len(units) == 1}

    def _trace_of(self, unit: FoundUnit) -> Trace | None:
        return self._traces.get(unit.hash) or self._unhashed.get(unit.fingerprint)

    # ---- a compile

    def _compile(self, unit: FoundUnit) -> list[Unit]:
        trace = self._trace_of(unit)
        if trace is None:
            return self._earlier(unit)
        made = self._compiled_unit(unit, trace)
        # Messages are made for one width and one format; hits give them as they are asked for.
        return [] if any("/output-" in file.path and file.content for file in made.files) else [made]

    def _compiled_unit(self, unit: FoundUnit, trace: Trace) -> Unit:
        roots, entry = trace.roots, trace.entry
        is_path = not is_package(roots.normalise(roots.cwd))
        is_host = entry.unit_kind in HOST_KINDS and not is_path
        files = [self._output(trace, artifact, is_host=is_host) for artifact in entry.artifacts]
        dep_info = trace.out_dir + b"/" + os.fsencode(entry.dep_info_name)
        text = depinfo.template(_read(dep_info), roots.pairs())
        if text != entry.dep_info:
            raise FileNotFoundError(f"{entry.dep_info_name} is of another compile")
        files.append(self._text(dep_info, text))
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
            is_path=is_path,
            tied_to=self._place.tie if trace.is_tied or self._names_paths(files, roots) else b"",
            host=self._place.host if natives else b"",
            compile_ms=entry.compile_ms,
            files=tuple(files),
            cargo_home=self._cargo_home(roots.normalise(roots.cwd)),
            asked_by=(self._place.intent,),
            runs=self._runs_below(unit),
            steering=self._place.steering,
            is_open=self._is_steered or trace.is_open or not all(map(_is_of_machine, natives)),
        )

    def _runs_below(self, unit: FoundUnit) -> tuple[tuple[str, bytes], ...]:
        return tuple((dep, self._told[dep]) for dep in unit.deps if dep in self._told)

    def _names_paths(self, files: Sequence[UnitFile], roots: Roots) -> bool:
        """Whether cargo's list of what it watches has paths of this checkout: those outside of the package."""
        lists = [file.content for file in files if _DEP in file.path]
        return any(map(self._own_paths(roots).are_in, lists))

    def _own_paths(self, roots: Roots) -> OwnPaths:
        return OwnPaths(self._place.root, self._place.cargo_home, roots)

    def _earlier(self, unit: FoundUnit) -> list[Unit]:
        """A unit this build found fresh is still what earlier captures kept, if cargo's hash of it is."""
        before = self._before.get((self._relative(self._fingerprint_dir(unit)), unit.stem), ())
        return [each for each in before if each.fingerprint == unit.fingerprint]

    def _output(self, trace: Trace, artifact: Artifact, *, is_host: bool) -> UnitFile:
        path = trace.out_dir + b"/" + os.fsencode(artifact.name)
        found = os.stat(path)
        is_it = found.st_size == artifact.size and (
            self._store.is_blob(artifact.digest, found) or self._digests.digest(path) == artifact.digest
        )
        if not is_it:
            raise FileNotFoundError(f"{artifact.name} is no longer what was recorded")
        return UnitFile(
            path=self._relative(path),
            mtime_ns=found.st_mtime_ns,
            executable=artifact.executable,
            digest=artifact.digest,
            size=artifact.size,
            shared=artifact.role in _SHARED or (artifact.role is Role.LINKED and is_host),
        )

    def _keyed(self, trace: Trace) -> tuple[tuple[tuple[str, bytes], ...], tuple[tuple[bytes, bytes], ...]]:
        externs, natives = [], []
        for path, digest in trace.files:
            if not digest:
                continue
            if path.startswith(self._place.target_dir + b"/") and path.endswith((b".rlib", b".rmeta", b".so")):
                externs.append((self._relative(path), digest))
            else:
                natives.append((trace.roots.normalise(path), digest))
        return tuple(externs), tuple(natives)

    # ---- a build script's run

    def _run(self, unit: FoundUnit) -> list[Unit]:
        trace = next((self._compiled[dep] for dep in unit.deps if dep in self._compiled), None)
        earlier = self._earlier(unit)
        if trace is None:
            return earlier
        made = None if trace.is_tied else self._finished_run(unit, trace)
        return [made] if made is not None else []

    @staticmethod
    def _is_of_checkout(trace: Trace) -> bool:
        return not is_package(trace.roots.normalise(trace.package))

    def _finished_run(self, unit: FoundUnit, trace: Trace) -> Unit | None:
        """What a run left; None where it cannot be known what it depends on.

        What a package of the checkout read there beside what it declared is known if it was watched: else its run is
        kept where the configuration says that declarations will do. One that declares nothing has the dates of its
        package in cargo's hash, and fits nowhere else.
        """
        is_path = self._is_of_checkout(trace)
        base = self._place.directory + b"/build/" + unit.directory
        observed = None
        if is_path and unit.watched and self._place.watched is not None:
            observed = inputs_of(unit, base, trace, self._place.watched, self._digests)
        if is_path and not (unit.watched and (observed or self._place.trusts_declarations)):
            return None
        roots, package = trace.roots, trace.package
        declared = self._declared(unit, package, roots)
        if declared is None or not os.path.isdir(base) or not self._is_of_this_build(unit, package, base):
            return None
        files, is_tied = self._run_files(base, roots)
        if files is None or links_outside(_read(base + b"/output"), base + b"/out"):
            return None
        script = self._relative(trace.out_dir)
        return Unit(
            directory=self._relative(self._fingerprint_dir(unit)),
            stem=unit.stem,
            fingerprint=unit.fingerprint,
            deps=unit.deps,
            entry_key=b"",
            weak_key=b"",
            externs=tuple((f"{script}/{each.name}", each.digest) for each in trace.entry.artifacts),
            natives=declared,
            cwd=roots.normalise(package),
            is_path=is_path,
            tied_to=self._place.tie if is_tied else b"",
            host=self._place.host,
            compile_ms=0,
            files=(*files, *self._fingerprint_files(unit, roots)),
            cargo_home=self._cargo_home(roots.normalise(package)),
            asked_by=(self._place.intent,),
            runs=self._runs_below(unit),
            steering=self._place.steering,
            is_open=self._is_steered
            or self._may_have_written_elsewhere()
            or (not is_path and wrote_into(trace.package)),
            observed=observed or (),
        )

    def _may_have_written_elsewhere(self) -> bool:
        """Whether some script wrote beside its own directory."""
        if self._wrote_elsewhere is None:
            stray = first_stray(self._place.target_dir, self._outputs)
            self._wrote_elsewhere = stray is not None
            if stray is not None:
                log.info("runs of build scripts are not kept: none knows who made %s", os.fsdecode(stray))
        return self._wrote_elsewhere

    def _is_of_this_build(self, unit: FoundUnit, package: bytes, base: bytes) -> bool:
        """Whether this build ran it, and not the next one, and nothing of what it declared changed since it began."""
        if os.stat(base + b"/output").st_mtime_ns > self._place.last_compile_ns:
            return False
        began_ns = os.stat(base + b"/invoked.timestamp").st_mtime_ns
        return all(changed_ns(os.path.join(package, os.fsencode(name))) < began_ns for name in unit.watched or ())

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
        own_out, paths = base + b"/out", self._own_paths(roots)
        files: list[UnitFile] = []
        staged: list[Staged] = []
        is_tied = False
        total = 0
        for path, found in tree(base):
            if path == own_out:
                continue  # empty: it is made for every run
            total += found.st_size
            if len(files) >= MAX_RUN_FILES or total > MAX_RUN_BYTES or not self._is_common(path, found):
                self._discard(staged)
                return None, False
            small, is_template = found.st_size <= INLINE_BYTES, False
            content = _read(path) if small else b""
            if small:
                # cargo itself puts the new OUT_DIR in place of the old one in `output` (by `root-output`).
                text = content.replace(own_out, b"") if not path.startswith(own_out + b"/") else content
                if path.endswith(b".d"):
                    text, is_template = paths.list_for_make(content)
                    content = text
                is_tied |= paths.show_in(text)
                digest = b""
            else:
                item = self._store.stage(path, share=False, needles=paths.needles())
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
                    is_template=is_template,
                )
            )
        if staged:
            self._keep(base, files, staged)
        return files, is_tied

    def _is_common(self, path: bytes, found: os.stat_result) -> bool:
        """A file with the modes that files get, in a directory that has its own: others would be lost."""
        usual = (0o777 if found.st_mode & 0o111 else 0o666) & ~self._place.umask
        folder = stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) & 0o777
        return (
            stat.S_ISREG(found.st_mode)
            and stat.S_IMODE(found.st_mode) == usual
            and folder == 0o777 & ~self._place.umask
        )

    def _keep(self, base: bytes, files: list[UnitFile], staged: list[Staged]) -> None:
        """An entry of its own holds the large files, so that they count, and go, like any other."""
        large = [file for file in files if file.digest]
        artifacts = tuple(
            Artifact(os.path.basename(file.path), Role.LINKED, file.digest, file.size, file.executable)
            for file in large
        )
        key = run_key(file.digest for file in large)
        name = os.fsdecode(os.path.basename(base)).rpartition("-")[0].replace("-", "_")
        entry = Entry(key, key, name, RUN_KIND, 0, artifacts, "", b"", b"", b"", ())
        self._store.commit(entry, InputMemo(key, key, ()), staged)

    def _discard(self, staged: list[Staged]) -> None:
        for item in staged:
            self._store.discard(item)

    # ---- files

    def _fingerprint_files(self, unit: FoundUnit, roots: Roots) -> list[UnitFile]:
        """The unit's own files of its fingerprint directory; the one that makes cargo believe in it comes last."""
        directory = self._fingerprint_dir(unit)
        stem = os.fsencode(unit.stem)
        names = [b"dep-" + stem, stem + b".json"]  # `invoked.timestamp` dates a compile that runs, and is never read
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

    def _cargo_home(self, package: bytes) -> bytes:
        return self._place.cargo_home if package.startswith(b"<cargo-home>") else b""

    def _relative(self, path: bytes) -> str:
        return os.fsdecode(os.path.relpath(path, self._place.target_dir))


def _is_of_machine(native: tuple[bytes, bytes]) -> bool:
    name, _ = native
    return name.startswith(_OF_MACHINE) or is_package(name)


def tie_of(target_dir: bytes, root: bytes) -> bytes:
    """The place that a unit with paths in it fits: a target directory, and the workspace built in it."""
    return target_dir + b"\0" + root


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
