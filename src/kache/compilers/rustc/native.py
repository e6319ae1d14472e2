"""What a linker or archiver reads beside Rust artifacts: native libraries, linker scripts, the linker, its C runtime.

rustc reports none of it, so explicit rules find the files; their contents go into the weak key. A file that is named
and cannot be followed makes the call a passthrough.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from kache.compilers.rustc.invocation import Invocation, Refusal
from kache.compilers.rustc.programs import path_dirs, which
from kache.core.entry import FileIdentity
from kache.core.outcome import Reason
from kache.util import processes

LINK_ENV = (
    b"COLLECT_GCC_OPTIONS",
    b"COMPILER_PATH",
    b"DEVELOPER_DIR",
    b"GCC_EXEC_PREFIX",
    b"GNUTARGET",
    b"LDEMULATION",
    b"LD_LIBRARY_PATH",
    b"LD_PRELOAD",
    b"LD_RUN_PATH",
    b"LIBRARY_PATH",
    b"MACOSX_DEPLOYMENT_TARGET",
    b"IPHONEOS_DEPLOYMENT_TARGET",
    b"SDKROOT",
    b"SOURCE_DATE_EPOCH",
)
"""Variables that change what gcc, ld and rustc's own linker driver do."""

# A directory with more libraries than this is a system's own: its listing counts, and of contents only what -l names.
MAX_OWN_LIBRARIES = 256
_PROGRAMS = (b"collect2", b"ld", b"liblto_plugin.so")
_RUNTIME = (
    *(b"Scrt1.o", b"crt1.o", b"rcrt1.o", b"crti.o", b"crtn.o"),
    *(b"crtbegin.o", b"crtbeginS.o", b"crtbeginT.o", b"crtend.o", b"crtendS.o"),
    *(b"libc.so", b"libc.so.6", b"libc_nonshared.a", b"libm.so", b"libm.so.6", b"libmvec.so.1"),
    *(b"libgcc.a", b"libgcc_eh.a", b"libgcc_s.so", b"libgcc_s.so.1"),
    *(b"libpthread.a", b"libdl.a", b"librt.a", b"libutil.a", b"libc.a", b"libm.a"),
)
# rlib and rmeta: a plain -L also finds crates that no --extern names.
_LIBRARY_SUFFIXES = (b".a", b".so", b".o", b".lib", b".dylib", b".tbd", b".obj", b".rlib", b".rmeta")
_NO_SYSTEM = (b"wasm32", b"wasm64", b"bpf", b"nvptx64")
_SCRIPT_WORDS = (b"INCLUDE", b"INPUT", b"GROUP")
_SCRIPT_BYTES = 1 << 20
_SCRIPT_HEAD = 1 << 12
# What follows these is a directory that the linker writes into its output and does not look into.
_RUN_PATHS = (b"-rpath", b"--rpath", b"-R")
_TIMEOUT_S = 20


@dataclass(slots=True)
class NativeInputs:
    """What goes into the weak key.

    Attributes:
        files: absolute paths whose contents count.
        directories: absolute paths whose listings count: names with size and time of a system's directory.
        absent: places looked at before a program was found: one that appeared there would be taken instead.
        unfollowed: a file that names others, which only observing the linker shows; empty if there is none.
    """

    files: list[bytes] = field(default_factory=list)
    directories: list[bytes] = field(default_factory=list)
    absent: list[bytes] = field(default_factory=list)
    unfollowed: str = ""


class NativeResolver:
    """Finds native inputs; remembers what a linker driver said of its own directories."""

    def __init__(self) -> None:
        self._drivers: dict[tuple[bytes, ...], tuple[FileIdentity, tuple[bytes, ...], list[bytes], list[bytes]]] = {}

    def resolve(self, call: Invocation, env: Mapping[bytes, bytes], cwd: bytes) -> NativeInputs | Refusal:
        """Find everything native that this call reads.

        Args:
            call: the parsed call.
            env: the caller's environment.
            cwd: the compiler's working directory.
        """
        found = NativeInputs()
        for search in call.search:
            if search.kind != b"dependency":
                _add_directory(search.path, found)
        _add_named_libraries(call, found)
        if not call.links:
            return found
        return self._add_linker(call, env, cwd, found) or found

    def _add_linker(
        self, call: Invocation, env: Mapping[bytes, bytes], cwd: bytes, found: NativeInputs
    ) -> Refusal | None:
        words = _link_words(call.link_inputs)
        named = _named_directories(words, cwd)
        for directory in named:
            _add_directory(directory, found)
        searched = [*(search.path for search in call.search if search.kind in (b"native", b"all")), *named]
        _find_scripts(found)
        _add_named_files(words, cwd, searched, found)
        if call.linker is None and call.target and call.target.startswith(_NO_SYSTEM):
            return None  # the toolchain brings its own linker, which its identity covers
        driver = which(call.linker or b"cc", env, cwd, found.absent)
        if driver is None:
            if call.linker and os.path.basename(call.linker).startswith((b"rust-lld", b"lld")):
                return None
            return Refusal(Reason.NATIVE_INPUT, f"linker {(call.linker or b'cc').decode(errors='replace')} not found")
        programs, libraries = self._directories(driver, env, cwd)
        # -B puts a directory before those of the driver.
        programs, libraries = [*named, *programs, *path_dirs(env)], [*named, *libraries]
        found.files.append(driver)
        found.files += _first_of_each(_PROGRAMS, programs, found.absent)
        found.files += _first_of_each(_RUNTIME, libraries)
        found.files += _first_of_each(_wanted_libraries(call, words), libraries)
        own = [os.path.normpath(part) for part in env.get(b"LIBRARY_PATH", b"").split(b":") if part]
        for directory in dict.fromkeys(os.path.join(cwd, part) for part in own):
            _add_directory(directory, found)  # #[link] names libraries that no argument shows
        for directory in dict.fromkeys(part for part in libraries if part.startswith(b"/usr/local/")):
            found.files += _library_files(directory)
        for word in words:
            if word.startswith(b"-fuse-ld="):
                chosen = word.removeprefix(b"-fuse-ld=")
                name = chosen if b"/" in chosen else b"ld." + chosen
                path = _first_of_each((name,), programs, found.absent) if b"/" not in chosen else [chosen]
                if not path or not os.path.isfile(path[0]):
                    return Refusal(Reason.NATIVE_INPUT, f"linker {name.decode(errors='replace')} not found")
                found.files += path
        return None

    def _directories(self, driver: bytes, env: Mapping[bytes, bytes], cwd: bytes) -> tuple[list[bytes], list[bytes]]:
        """Directories a gcc or clang driver searches, (programs, libraries); empty for a linker that does not say."""
        steering = (driver, *(env.get(name, b"") for name in LINK_ENV))
        identity = FileIdentity.of(os.stat(driver))
        known = self._drivers.get(steering)
        if known is not None and known[0] == identity:
            return known[2], known[3]
        programs, libraries = _search_dirs(driver, env, cwd)
        self._drivers[steering] = (identity, steering, programs, libraries)
        return programs, libraries


def _search_dirs(driver: bytes, env: Mapping[bytes, bytes], cwd: bytes) -> tuple[list[bytes], list[bytes]]:
    try:
        run = processes.run([driver, b"-print-search-dirs"], _TIMEOUT_S, cwd=cwd, env=dict(env))
        run.check_returncode()
    except (OSError, subprocess.SubprocessError):
        return [], []
    dirs: dict[bytes, list[bytes]] = {}
    for line in run.stdout.splitlines():
        name, _, value = line.partition(b": ")
        dirs[name] = [os.path.normpath(part) for part in value.lstrip(b"=").split(b":") if part]
    return dirs.get(b"programs", []), dirs.get(b"libraries", [])


def _first_of_each(names: Iterable[bytes], directories: list[bytes], passed: list[bytes] | None = None) -> list[bytes]:
    """The first file of each name; `passed` gets the places before it."""
    found = []
    for name in names:
        before: list[bytes] = []
        for directory in directories:
            path = directory + b"/" + name
            if os.path.isfile(path):
                found.append(path)
                if passed is not None:
                    passed += before
                break
            before.append(path)
    return found


def _wanted_libraries(call: Invocation, words: list[bytes]) -> list[bytes]:
    """File names of the libraries that -l names, which may lie in the driver's own directories."""
    values = [value.partition(b"=")[2] or value for value in call.native_libs]
    names = [value.partition(b":")[0] for value in values]
    names += [word[2:] for word in words if word.startswith(b"-l") and len(word) > 2]
    return [file for name in dict.fromkeys(names) for file in (b"lib%s.so" % name, b"lib%s.a" % name)]


def _is_library(name: bytes) -> bool:
    return name.endswith(_LIBRARY_SUFFIXES) or b".so." in name


def _add_directory(directory: bytes, found: NativeInputs) -> None:
    # One that is not there is ignored by rustc, and its listing digest says "absent".
    found.directories.append(directory)
    found.files += _library_files(directory)


def _library_files(directory: bytes) -> list[bytes]:
    """The libraries in a directory; none if it is a system's own, or not there."""
    try:
        names = [name for name in os.listdir(directory) if _is_library(name)]
    except OSError:
        return []
    if len(names) > MAX_OWN_LIBRARIES:
        return []
    paths = [directory + b"/" + name for name in sorted(names)]
    return [path for path in paths if os.path.isfile(path)]


def _add_named_libraries(call: Invocation, found: NativeInputs) -> None:
    have = set(found.files)
    for value in call.native_libs:
        kind, equals, rest = value.partition(b"=")
        name = (rest if equals else kind).partition(b":")[0]
        for search in call.search:
            if search.kind not in (b"native", b"all"):
                continue
            for file in (b"lib" + name + b".a", b"lib" + name + b".so", name + b".lib", name):
                path = search.path + b"/" + file
                if path not in have and os.path.isfile(path):
                    have.add(path)
                    found.files.append(path)


def _link_words(arguments: Iterable[bytes]) -> list[bytes]:
    """Linker arguments taken apart as gcc does: `-Wl,-T,x.ld` gives `-T` and `x.ld`.

    `-C link-args` holds several divided by blanks, `-C link-arg` one that may have a blank in it: both readings count.
    """
    words: list[bytes] = []
    for argument in arguments:
        for piece in dict.fromkeys((argument, *argument.split())):
            words += [word for word in piece.split(b",") if word not in (b"-Wl", b"-Xlinker")]
    return words


def _pieces(word: bytes) -> list[bytes]:
    """What of a word may be a path: all, behind `=`, behind `-T`, `-L` or `-B`."""
    pieces = [word, word.partition(b"=")[2]]
    if word[:2] in (b"-T", b"-L", b"-B"):
        pieces.append(word[2:])
    return [piece for piece in dict.fromkeys(pieces) if piece]


def _named_directories(words: list[bytes], cwd: bytes) -> list[bytes]:
    """Directories of -L, -B and their like, in every spelling."""
    found = []
    for before, word in zip([b"", *words], words, strict=False):
        if before in _RUN_PATHS or word.partition(b"=")[0] in _RUN_PATHS:
            continue
        paths = [os.path.join(cwd, piece) for piece in _pieces(word)]
        is_search = word.startswith(b"-L") and len(word) > 2
        found += [path for path in paths if os.path.isdir(path) or (is_search and path.endswith(word[2:]))]
    return list(dict.fromkeys(found))


def _add_named_files(words: list[bytes], cwd: bytes, searched: list[bytes], found: NativeInputs) -> None:
    """Files that linker arguments name; a script is also looked for in the directories of -L."""
    for word in words:
        if word.startswith(b"@"):
            found.unfollowed = f"linker response file {word.decode(errors='replace')}"
        for piece in _pieces(word):
            for path in _first_of_each((piece,), [cwd, *searched]) if piece[:1] != b"/" else [piece]:
                if not os.path.isfile(path):
                    continue
                if _names_other_files(path):
                    found.unfollowed = _script(path)
                found.files.append(path)


def _find_scripts(found: NativeInputs) -> None:
    """A `libx.so` that is a text saying `INPUT(…)`."""
    for path in found.files:
        if not path.endswith((b".rlib", b".rmeta")) and _names_other_files(path):
            found.unfollowed = _script(path)


def _script(path: bytes) -> str:
    return f"linker script {path.decode(errors='replace')} names other files"


def _names_other_files(path: bytes) -> bool:
    """Whether a text file may be a linker script that pulls in others; objects and archives are not text."""
    try:
        with open(path, "rb") as file:
            head = file.read(_SCRIPT_HEAD)
            if b"\0" in head or head.startswith(b"!<arch>"):
                return False
            head += file.read(_SCRIPT_BYTES)
    except OSError:
        return True
    return any(word in head for word in _SCRIPT_WORDS)


def target_specifications(call: Invocation, env: Mapping[bytes, bytes]) -> list[bytes]:
    """Files that define the target: the one named, or that of RUST_TARGET_PATH with the target's name."""
    if call.target_spec:
        return [call.target_spec]
    if not call.target:
        return []
    directories = [part for part in env.get(b"RUST_TARGET_PATH", b"").split(b":") if part]
    candidates = [directory + b"/" + call.target + b".json" for directory in directories]
    return [path for path in candidates if os.path.isfile(path)]
