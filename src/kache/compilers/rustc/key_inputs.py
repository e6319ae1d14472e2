"""The labelled inputs of a call and its weak key: everything that is known before rustc runs, but its sources."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kache.compilers.file_digests import FileDigests, listing_digest
from kache.compilers.rustc.crate_edges import edges_of
from kache.compilers.rustc.invocation import Invocation
from kache.compilers.rustc.machine import cpu_identity
from kache.compilers.rustc.native import LINK_ENV, MAX_OWN_LIBRARIES, NativeInputs
from kache.compilers.rustc.roots import Roots
from kache.compilers.rustc.toolchain import Toolchain
from kache.core.digest import Digest, hash_bytes, hash_parts

KEY_SCHEMA = b"kache key 6"
"""Raised whenever the meaning of a key changes: old entries are then never found again."""

# What cargo tells a crate about itself. Macros read these without rustc noticing; paths in them are normalised.
_CRATE_ENV_PREFIXES = (b"CARGO_PKG_", b"CARGO_BIN_EXE_")
_CRATE_ENV = frozenset(
    {b"CARGO_CRATE_NAME", b"CARGO_BIN_NAME", b"CARGO_MANIFEST_LINKS", b"CARGO_MANIFEST_DIR", b"CARGO_MANIFEST_PATH"}
    | {b"OUT_DIR", b"CARGO_TARGET_TMPDIR", b"RUSTC_BOOTSTRAP", b"RUSTC_LOG", b"RUSTC_FORCE_RUSTC_VERSION"}
    | {b"CFG_VERSION", b"RUSTC_ICE", b"RUST_TARGET_PATH", b"RUSTC_BREAK_ON_ICE"}
)
_LIBRARIES = (b".rlib", b".so", b".dylib", b".dll")
_CLIPPY_ENV = (b"CLIPPY_ARGS", b"CLIPPY_CONF_DIR", b"CLIPPY_DISABLE_DOCS_LINKS")


class PendingRecord(Exception):  # noqa: N818 - not an error: the caller waits and asks again
    """An rlib this link reads was compiled a moment ago and is still being recorded."""

    def __init__(self, path: bytes) -> None:
        super().__init__(path)
        self.path = path


@dataclass(slots=True)
class KeyInputs:
    """Ordered, labelled inputs; why-miss is the difference of two of these.

    Attributes:
        parts: (label, value hashed, value shown to people).
        files: real paths whose identity proves that the weak key still holds, with the digest keyed; empty for a
            directory.
        absent: real paths that were looked for and not found.
        fleeting: what lies in a directory that compiles write into counts as well, so no stat of `files` proves it.
        unfollowed: what names files that only observing the linker shows; empty if nothing does.
    """

    parts: list[tuple[bytes, bytes, bytes]] = field(default_factory=list)
    files: dict[bytes, Digest] = field(default_factory=dict)
    absent: list[bytes] = field(default_factory=list)
    fleeting: bool = False
    unfollowed: str = ""

    def add(self, label: bytes, value: bytes, shown: bytes | None = None) -> None:
        """Append one input; without `shown` people see the value."""
        self.parts.append((label, value, value if shown is None else shown))

    def add_digest(self, label: bytes, digest: Digest) -> None:
        """Append a content digest; people see its beginning."""
        self.parts.append((label, digest, digest[:6].hex().encode()))

    def weak_key(self) -> Digest:
        """Hash labels and values in order."""
        return hash_parts(piece for label, value, _ in self.parts for piece in (label, value))


def static_inputs(call: Invocation, roots: Roots, env: Mapping[bytes, bytes], toolchain: Toolchain) -> KeyInputs:
    """What follows from the words of the call alone.

    Args:
        call: the parsed call.
        roots: its roots.
        env: the caller's environment.
        toolchain: the compiler's identity.
    """
    inputs = KeyInputs()
    inputs.add(b"schema", KEY_SCHEMA)
    first_line = toolchain.verbose_version.partition("\n")[0].encode()
    inputs.add(b"toolchain", toolchain.identity, first_line + b" " + toolchain.identity[:6].hex().encode())
    if call.native_cpu:
        inputs.add_digest(b"cpu", cpu_identity())
    for arg in call.key_args:
        inputs.add(b"arg", arg.prefix if arg.path is None else arg.prefix + roots.normalise(arg.path))
    for name in sorted(env):
        if name in _CRATE_ENV or name.startswith(_CRATE_ENV_PREFIXES):
            inputs.add(b"env:" + name, roots.normalise_value(env[name]))
    if call.is_clippy:
        for name in _CLIPPY_ENV:
            if name in env:
                inputs.add(b"env:" + name, roots.normalise_value(env[name]))
    if call.links:
        for name in LINK_ENV:
            if name in env:
                value = roots.normalise_value(env[name])
                inputs.add(b"env:" + name, _loader_path(value) if name == b"LD_LIBRARY_PATH" else value)
    return inputs


def _loader_path(value: bytes) -> bytes:
    """Directories of the target dir alike: with one directory a unit cargo names any one of them, as it happens."""
    parts = (b"<target>" if part.startswith(b"<target>/") else part for part in value.split(b":"))
    return b":".join(dict.fromkeys(parts))


def is_keyed_variable(name: bytes, call: Invocation) -> bool:
    """Whether a variable is in the weak key when it is set, so that it need not be in the closure."""
    if name in _CRATE_ENV or name.startswith(_CRATE_ENV_PREFIXES):
        return True
    return (call.is_clippy and name in _CLIPPY_ENV) or (call.links and name in LINK_ENV)


def add_externs(call: Invocation, digests: FileDigests, inputs: KeyInputs) -> None:
    """Every --extern by name and content.

    Raises:
        OSError: one cannot be read.
    """
    for extern in call.externs:
        if extern.path is None:
            inputs.add(b"extern:" + extern.name, b"", b"by search")
            continue
        digest = inputs.files[extern.path] = digests.digest(extern.path)
        inputs.add_digest(b"extern:" + extern.name, digest)


def add_native(native: NativeInputs, roots: Roots, digests: FileDigests, inputs: KeyInputs) -> None:
    """Native files by content, native directories by their names.

    Raises:
        OSError: a file vanished or cannot be read.
    """
    for path in dict.fromkeys(native.files):
        digest = inputs.files[path] = digests.digest(path)
        inputs.add_digest(b"native:" + roots.normalise(path), digest)
    for directory in dict.fromkeys(native.directories):
        label = b"directory:" + roots.normalise(directory)
        if not os.path.isdir(directory):
            inputs.add(label, b"", b"absent")
            inputs.absent.append(directory)
            continue
        inputs.add_digest(label, _native_listing(directory))
        inputs.files[directory] = b""


def _native_listing(directory: bytes) -> Digest:
    """Names; of a system's directory, whose contents are not read, also sizes and dates."""
    names = sorted(os.listdir(directory))
    if len(names) <= MAX_OWN_LIBRARIES:
        return listing_digest(directory)
    parts = []
    for name in names:
        found = os.lstat(directory + b"/" + name)
        if not stat.S_ISDIR(found.st_mode):
            parts.append(b"%s %d %d" % (name, found.st_size, found.st_mtime_ns))
    return hash_bytes(b"\0".join(parts))


def add_link_closure(
    call: Invocation,
    digests: FileDigests,
    inputs: KeyInputs,
    edges: Callable[[Digest], tuple[str, ...] | None],
    pending: Callable[[bytes], bool],
) -> None:
    """What a link reads through -L dependency: every rlib and dylib reachable from the externs, by content.

    The edges are what the store knows of how each artifact was compiled. One it does not know (compiled without kache)
    is read for them. Where that is impossible everything in the directories counts, which costs hits and never
    correctness.

    Args:
        call: the parsed call.
        digests: the stat memo.
        inputs: gets the parts.
        edges: stems of the artifacts a recorded artifact was compiled against, None if it is unknown.
        pending: whether the artifact at a path is still being recorded.

    Raises:
        PendingRecord: its edges will be known in a moment.
        OSError: a file vanished.
    """
    directories = dependency_directories(call)
    queue = [extern.path for extern in call.externs if extern.path is not None]
    seen = set(queue)
    reached: dict[bytes, Digest] = {}
    while queue:
        path = queue.pop()
        if pending(path):
            raise PendingRecord(path)
        digest = inputs.files[path] = reached[os.path.basename(path)] = digests.digest(path)
        stems = edges(digest)
        if stems is None:
            stems = edges_of(path, digest, _libraries(directories))
        if stems is None:
            reached = _everything(directories, digests, inputs)
            inputs.add(b"links", b"all", b"everything in -L dependency")
            break
        for stem in stems:
            found = find_artifact(directories, stem.encode())
            if found is not None and found not in seen:
                seen.add(found)
                queue.append(found)
    for name in sorted(reached):
        inputs.add_digest(b"link:" + name, reached[name])


def dependency_directories(call: Invocation) -> list[bytes]:
    """Where rustc looks for crates that no --extern names."""
    return [search.path for search in call.search if search.kind in (b"dependency", b"all", b"crate")]


def find_artifact(directories: list[bytes], stem: bytes) -> bytes | None:
    """The library of a stem (`libfoo-0123`)."""
    for directory in directories:
        for suffix in (b".rlib", b".so", b".dylib", b".dll", b".rmeta"):
            path = directory + b"/" + stem + suffix
            if os.access(path, os.F_OK):
                return path
    return None


def _libraries(directories: Iterable[bytes]) -> Iterator[bytes]:
    """Stems of the libraries in some directories."""
    for directory in directories:
        for name in os.listdir(directory):
            if name.endswith(_LIBRARIES):
                yield name.rpartition(b".")[0]


def _everything(directories: Iterable[bytes], digests: FileDigests, inputs: KeyInputs) -> dict[bytes, Digest]:
    reached = {}
    inputs.fleeting = True
    for directory in directories:
        for name in sorted(os.listdir(directory)):
            if name.endswith(_LIBRARIES):
                path = directory + b"/" + name
                inputs.files[path] = reached[name] = digests.digest(path)
    return reached
