"""Which toolchain a call uses, by content: never by its version text alone.

Finding out costs two starts of rustc and reading half a gigabyte once; afterwards a call costs a few stats. `export`
and `restore` carry the result over a restart.
"""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec

from kache.compilers.rustc.invocation import Refusal, is_rustc_name, program_stem
from kache.compilers.rustc.sysroot import find_drivers, read_content, sysroot_around
from kache.core.digest import Digest, hash_file, hash_parts
from kache.core.entry import FileIdentity
from kache.core.outcome import Reason
from kache.util import processes

_TIMEOUT_S = 20
_REFUSED_S = 30.0
"""A toolchain that failed is not asked again for so long, unless one of its files changes."""
_MAX_CALLS = 512
_WHOLE_S = 10.0
"""How long one asker's look at every file of a toolchain stands: somebody may call rustc from one shell all day."""
_MAX_ASKERS = 256
_SHIM_BYTES = 1 << 16
_VARIABLE = re.compile(rb"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_FINDING = frozenset({b"PATH", b"HOME", b"PWD", b"OLDPWD", b"SHLVL", b"TMPDIR", b"CARGO_HOME"})
_FORMAT = 1
"""Of what `export` gives; raised when anything else of a toolchain counts."""
_MAX_KEPT = 32
"""Toolchains that `export` gives, the last ones found."""

Watch = tuple[tuple[bytes, FileIdentity | None], ...]
"""Paths with what stat said, None for one that must not exist."""

Watched = dict[bytes, FileIdentity | None]


@dataclass(frozen=True, slots=True)
class Toolchain:
    """A toolchain that was identified.

    Attributes:
        identity: digest of compiler, driver, LLVM, standard libraries and version text; the same wherever it lies.
        sysroot: as rustc reports it.
        host: host triple.
        release: (1, 95).
        verbose_version: all of `rustc -vV`.
        real_rustc: absolute path of rustc behind proxies and symlinks.
        files: everything that was read to identify it, with what stat said.
    """

    identity: Digest
    sysroot: bytes
    host: str
    release: tuple[int, int]
    verbose_version: str
    real_rustc: bytes
    files: Watch = field(repr=False, compare=False)


class _Row(msgspec.Struct, frozen=True, array_like=True):
    binary: bytes
    loader: bytes
    watch: tuple[tuple[bytes, tuple[int, ...] | None], ...]
    toolchain: Toolchain


@dataclass(frozen=True, slots=True)
class _Question:
    """Who asks for which compiler: argv[0] of the call, its environment and directory, and the cargo above it."""

    compiler: bytes
    env: Mapping[bytes, bytes]
    cwd: bytes
    asker: int

    def run_env(self) -> dict[bytes, bytes]:
        """The environment to run that compiler in, should it lead back to kache."""
        return {**self.env, b"KACHE_DISABLED": b"1"}


class _FailedError(Exception):
    pass


class Toolchains:
    """Identifies toolchains and remembers them.

    Several threads may ask: every step is one operation on a dict, and two at once do the same work twice. The first
    question about a toolchain blocks for about 0.2 s.

    Args:
        clock: monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._hash = _FileHash()
        # absolute paths that are no proxies: neither the directory nor rustup's variables count for them
        self._direct: set[bytes] = set()
        # what a call says of its compiler -> (watch, answer, when)
        self._calls: dict[tuple[bytes | None, ...], tuple[Watch, Toolchain | Refusal, float]] = {}
        # (real binary, where the loader finds the driver) -> (watch, answer)
        self._binaries: dict[tuple[bytes, bytes], tuple[Watch, Toolchain]] = {}
        # (asker, identity, sysroot) -> when all files were as they had been
        self._whole: dict[tuple[int, Digest, bytes], float] = {}

    def identify(self, compiler: bytes, env: Mapping[bytes, bytes], cwd: bytes, asker: int = 0) -> Toolchain | Refusal:
        """The toolchain behind a compiler.

        Args:
            compiler: argv[0] of the call: rustc or clippy-driver, by path or by name.
            env: the caller's environment.
            cwd: the caller's working directory.
            asker: the cargo that asks. Each call compares the files people replace; the first of an asker, and then
                one every few seconds, all of them: a standard library written into in place is seen when the next
                build begins.

        Returns:
            The toolchain; NOT_RUSTC for anything else (it is not run), TOOLCHAIN if it fails to say what it is.
        """
        if not is_rustc_name(compiler):
            return Refusal(Reason.NOT_RUSTC, os.fsdecode(compiler))
        asked = self._asked(compiler, env, cwd)
        known = self._calls.get(asked)
        if known is not None:
            watch, answer, asked_at = known
            if isinstance(answer, Toolchain):
                fresh = self._is_whole(answer, asker)
            else:
                fresh = self._clock() - asked_at < _REFUSED_S
            if fresh and holds(watch):
                return answer
        watched: Watched = {}
        try:
            answer, is_settled = self._find(_Question(compiler, env, cwd, asker), watched)
        except (OSError, ValueError, subprocess.SubprocessError, _FailedError) as error:
            answer, is_settled = Refusal(Reason.TOOLCHAIN, f"{os.fsdecode(compiler)}: {error}"), True
        if not is_settled:
            return answer
        if len(self._calls) >= _MAX_CALLS:
            self._calls.pop(next(iter(self._calls)))
        asked = self._asked(compiler, env, cwd)  # whether the directory counts is known now
        self._calls[asked] = (tuple(watched.items()), answer, self._clock())
        return answer

    def _asked(self, compiler: bytes, env: Mapping[bytes, bytes], cwd: bytes) -> tuple[bytes | None, ...]:
        """What of a call decides which compiler it means."""
        get = env.get
        library_path = get(b"LD_LIBRARY_PATH")
        if compiler in self._direct:
            return compiler, library_path
        path = None if b"/" in compiler else get(b"PATH")
        chosen = get(b"RUSTUP_TOOLCHAIN")
        # rustup's cargo names the toolchain to all it starts, and that outranks what rustup finds in a directory.
        is_anywhere = bool(chosen) and all(place[:1] == b"/" for place in (path or compiler).split(b":"))
        where = b"" if is_anywhere else cwd
        return compiler, library_path, path, chosen, get(b"RUSTUP_HOME"), get(b"HOME"), where

    def export(self) -> bytes:
        """What is known of binaries, for `restore` after a restart."""
        rows = [
            _Row(binary, loader, tuple((path, tuple(found) if found else None) for path, found in watch), toolchain)
            for (binary, loader), (watch, toolchain) in self._binaries.items()
            if os.path.exists(binary)
        ]
        return msgspec.msgpack.encode((_FORMAT, rows[-_MAX_KEPT:]))

    def restore(self, blob: bytes) -> int:
        """Take over what `export` gave; a blob of another version is ignored.

        Returns:
            Number of toolchains known. Each is still compared with its files before it is used.
        """
        try:
            version, rows = msgspec.msgpack.decode(blob, type=tuple[int, list[_Row]])
        except (msgspec.DecodeError, msgspec.ValidationError):
            return 0
        if version != _FORMAT:
            return 0
        for row in rows:
            watch = tuple((path, FileIdentity(*found) if found else None) for path, found in row.watch)
            self._binaries.setdefault((row.binary, row.loader), (watch, row.toolchain))
        return len(rows)

    # ---- slow paths

    def _find(self, question: _Question, watched: Watched) -> tuple[Toolchain | Refusal, bool]:
        """The toolchain, and whether it stays that one while what is watched stays as it is."""
        compiler, env, cwd = question.compiler, question.env, question.cwd
        path = _resolve(compiler, env, cwd, watched)
        binary = os.path.realpath(path)
        run_env = question.run_env()
        self._direct.discard(compiler)
        if not _is_rustup_proxy(path, binary):
            if _may_choose(binary):
                sysroot = _run([path, b"--print", b"sysroot"], run_env, cwd).rstrip(b"\n")
                behind = os.path.realpath(sysroot + b"/bin/" + os.path.basename(path))
                if behind != binary:
                    return self._behind(binary, behind, question), False  # by what it chooses is not known
            if compiler[:1] == b"/":
                self._direct.add(compiler)
        else:
            watched.update(_look(_rustup_files(env, cwd)))
            sysroot = _run([path, b"--print", b"sysroot"], run_env, cwd).rstrip(b"\n")
            binary = os.path.realpath(sysroot + b"/bin/" + os.path.basename(path))
            watched.update(_look([binary]))
        watch, toolchain = self._as_loaded(binary, question)
        watched.update(watch)
        return toolchain, True

    def _behind(self, shim: bytes, binary: bytes, question: _Question) -> Toolchain:
        """The toolchain a shim takes now; its own content counts too, and variables it names: it may add arguments."""
        if not os.path.isfile(binary):
            raise _FailedError(f"the compiler behind it is not at {os.fsdecode(binary)}")
        found = self._as_loaded(binary, question)[1]
        named = [name + b"=" + question.env.get(name, b"") for name in _named_in(shim)]
        return replace(found, identity=hash_parts((b"shim", found.identity, self._hash((shim,))[shim], *named)))

    def _as_loaded(self, binary: bytes, question: _Question) -> tuple[Watch, Toolchain]:
        """A binary with the driver the loader gives it."""
        known = self._binary(binary, b"", question)
        loader = self._loader(known[0], question.env.get(b"LD_LIBRARY_PATH", b""))
        return self._binary(binary, loader, question) if loader else known

    def _binary(self, binary: bytes, loader: bytes, question: _Question) -> tuple[Watch, Toolchain]:
        known = self._binaries.get((binary, loader))
        if known is None or not holds(known[0]) or not self._is_whole(known[1], question.asker):
            known = self._identify_binary(binary, loader, question.run_env(), question.cwd)
            self._binaries[binary, loader] = known
        return known

    def _is_whole(self, toolchain: Toolchain, asker: int) -> bool:
        """Whether all its files are as they were, looked at for this asker not long ago: too many for each call."""
        place = asker, toolchain.identity, toolchain.sysroot
        looked_at = self._whole.get(place)
        if looked_at is None or self._clock() - looked_at > _WHOLE_S:
            if not holds(toolchain.files):
                return False
            if len(self._whole) >= _MAX_ASKERS:
                self._whole.clear()
            self._whole[place] = self._clock()
        return True

    def _loader(self, watch: Watch, library_path: bytes) -> bytes:
        """Directory of LD_LIBRARY_PATH from which the loader would take another driver than the toolchain's own."""
        drivers = {path for path, _ in watch if b"/librustc_driver" in path}
        for directory in library_path.split(b":") if library_path else ():
            for driver in drivers:
                path = directory + b"/" + os.path.basename(driver)
                if os.path.exists(path):
                    return b"" if any(os.path.samefile(path, own) for own in drivers) else directory
        return b""

    def _identify_binary(
        self, binary: bytes, loader: bytes, env: Mapping[bytes, bytes], cwd: bytes
    ) -> tuple[Watch, Toolchain]:
        from concurrent.futures import ThreadPoolExecutor

        is_clippy = program_stem(binary) == b"clippy-driver"
        as_rustc = [binary, b"--rustc"] if is_clippy else [binary]
        sysroot = b"" if loader else sysroot_around(binary)
        with ThreadPoolExecutor(1) as aside:  # the compiler loads itself while its files are read
            said = aside.submit(_run, [*as_rustc, b"-vV"], env, cwd)
            if not sysroot:
                said.result()  # first of all, whether it is a compiler
                sysroot = _run([*as_rustc, b"--print", b"sysroot"], env, cwd).rstrip(b"\n")
            drivers = find_drivers(sysroot, env.get(b"LD_LIBRARY_PATH", b""))
            if loader:
                drivers = [loader + b"/" + name for name in os.listdir(loader) if name.startswith(b"librustc_driver")]
            if not drivers:
                raise _FailedError(f"no librustc_driver under {os.fsdecode(sysroot)}")
            rustc = _rustc_beside(binary, sysroot) if is_clippy else binary
            programs = tuple(dict.fromkeys((binary, rustc)))
            content = read_content(sysroot, programs, drivers, self._hash)
            verbose = said.result().decode()
        watch, files = _look(content.watch), _look(content.files)
        self._hash.check(files)
        host, release = _facts(verbose)
        identity = hash_parts((b"rustc", verbose.encode(), content.digest))
        return watch, Toolchain(identity, sysroot, host, release, verbose, rustc, files)


class _FileHash:
    """Hashes files once: rustc and clippy-driver share a driver. Remembers what a file was before it was read."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[FileIdentity, Digest]] = {}

    def __call__(self, paths: Iterable[bytes]) -> dict[bytes, Digest]:
        from concurrent.futures import ThreadPoolExecutor

        found = {path: FileIdentity.of(os.stat(path)) for path in paths}
        changed = [path for path, identity in found.items() if self._known.get(path, (None,))[0] != identity]
        # Cargo waits, and has started nothing yet that the other cores could do. Largest first: two make up half.
        changed.sort(key=lambda path: -found[path].size)
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for path, digest in zip(changed, pool.map(hash_file, changed), strict=True):
                self._known[path] = found[path], digest
        return {path: self._known[path][1] for path in found}

    def check(self, watch: Watch) -> None:
        """Refuse if a file changed since it was read."""
        for path, found in watch:
            if path in self._known and self._known[path][0] != found:
                raise _FailedError(f"{os.fsdecode(path)} changed while it was read")


def holds(watch: Watch) -> bool:
    """Whether stat still says of every path what it said."""
    for path, expected in watch:
        try:
            found = os.stat(path)
        except OSError:
            if expected is not None:
                return False
            continue
        if expected is None or expected != (
            found.st_dev,
            found.st_ino,
            found.st_size,
            found.st_mtime_ns,
            found.st_ctime_ns,
        ):
            return False
    return True


def _look(paths: Iterable[bytes]) -> Watch:
    looked: list[tuple[bytes, FileIdentity | None]] = []
    for path in paths:
        try:
            looked.append((path, FileIdentity.of(os.stat(path))))
        except OSError:
            looked.append((path, None))
    return tuple(looked)


def _resolve(compiler: bytes, env: Mapping[bytes, bytes], cwd: bytes, watched: Watched) -> bytes:
    """Absolute path of the compiler; every place looked at is watched."""
    if b"/" in compiler:
        path = os.path.join(cwd, compiler)
        watched.update(_look([path]))
        return path
    for directory in env.get(b"PATH", os.defpath.encode()).split(b":"):
        path = os.path.join(cwd, directory, compiler)
        watched.update(_look([path]))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    raise _FailedError("not found on PATH")


def _may_choose(binary: bytes) -> bool:
    """Whether it is a script, or another program under rustc's name (asdf, mise): it may choose among toolchains.

    One that lies in a toolchain is that toolchain's own.
    """
    if os.path.isdir(os.path.dirname(os.path.dirname(binary)) + b"/lib/rustlib"):
        return False
    with open(binary, "rb") as file:
        return file.read(2) == b"#!" or not is_rustc_name(binary)


def _named_in(shim: bytes) -> list[bytes]:
    """Variables that the text of a script names, less those by which it finds the compiler: that one is known."""
    with open(shim, "rb") as file:
        text = file.read(_SHIM_BYTES)
    found = set(_VARIABLE.findall(text)) if text.startswith(b"#!") else set()
    return sorted(name for name in found - _FINDING if not name.startswith(b"RUSTUP_"))


def _is_rustup_proxy(path: bytes, binary: bytes) -> bool:
    """Rustup names itself, or stands beside its proxies: as the same inode, or as a copy of the same size."""
    if program_stem(binary) in (b"rustup", b"rustup-init"):
        return True
    try:
        own = os.stat(binary)
        rustup = os.stat(os.path.dirname(path) + b"/rustup")
    except OSError:
        return False
    return (own.st_dev, own.st_ino) == (rustup.st_dev, rustup.st_ino) or own.st_size == rustup.st_size


def _rustup_files(env: Mapping[bytes, bytes], cwd: bytes) -> list[bytes]:
    """Files that decide which toolchain rustup takes."""
    if env.get(b"RUSTUP_TOOLCHAIN"):
        return []
    home = env.get(b"RUSTUP_HOME") or env.get(b"HOME", b"") + b"/.rustup"
    files = [home + b"/settings.toml"]
    directory = cwd
    while True:
        files += [os.path.join(directory, name) for name in (b"rust-toolchain", b"rust-toolchain.toml")]
        parent = os.path.dirname(directory)
        if parent == directory:
            return files
        directory = parent


def _rustc_beside(binary: bytes, sysroot: bytes) -> bytes:
    for directory in (os.path.dirname(binary), sysroot + b"/bin"):
        if os.path.isfile(directory + b"/rustc"):
            return os.path.realpath(directory + b"/rustc")
    return binary


def _run(command: list[bytes], env: Mapping[bytes, bytes], cwd: bytes) -> bytes:
    done = processes.run(command, _TIMEOUT_S, cwd=cwd, env=env)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise _FailedError(f"ended with status {done.returncode}" + (f": {said[-300:]}" if said else ""))
    return done.stdout


def _facts(verbose: str) -> tuple[str, tuple[int, int]]:
    """Host triple and release out of `rustc -vV`."""
    host = re.search(r"^host: (\S+)$", verbose, re.MULTILINE)
    release = re.search(r"^release: (\d+)\.(\d+)\.", verbose, re.MULTILINE)
    if not verbose.startswith("rustc ") or host is None or release is None:
        raise _FailedError(f"does not answer -vV as rustc does: {verbose[:100]!r}")
    return host[1], (int(release[1]), int(release[2]))
