"""Content of a toolchain's files: what of it decides which code rustc makes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from kache.core.digest import Digest, hash_parts

_SCRIPT_BYTES = 1 << 16

Hashes = Callable[[Iterable[bytes]], Mapping[bytes, Digest]]
"""Digests of files' contents by path; raises OSError."""


@dataclass(frozen=True, slots=True)
class Content:
    """Digest of the files that matter.

    Attributes:
        digest: does not depend on where the toolchain lies.
        watch: paths whose stat tells when a file was replaced, added or removed.
        files: paths of all that was read, some of which may be written in place.
    """

    digest: Digest
    watch: tuple[bytes, ...]
    files: tuple[bytes, ...]


def sysroot_around(program: bytes) -> bytes:
    """The sysroot a program lies in, empty if that cannot be told without asking it.

    rustc takes the directory above that of the driver it was loaded with: certain where just one lies beside `bin`.
    """
    root = os.path.dirname(os.path.dirname(program))
    drivers = [root + b"/lib/" + name for name in _names(root + b"/lib") if name.startswith(b"librustc_driver")]
    is_whole = program.startswith(root + b"/bin/") and os.path.isdir(root + b"/lib/rustlib")
    return root if is_whole and len(drivers) == 1 and not os.path.islink(drivers[0]) else b""


def find_drivers(sysroot: bytes, library_path: bytes) -> list[bytes]:
    """Every librustc_driver the dynamic loader could take, in its order.

    Args:
        sysroot: of the toolchain.
        library_path: LD_LIBRARY_PATH of the call; searched only where the sysroot has none.
    """
    lib = sysroot + b"/lib"
    multiarch = [lib + b"/" + name for name in _names(lib) if name.endswith((b"-linux-gnu", b"-linux-gnueabihf"))]
    for directories in ([lib, sysroot + b"/lib64", *multiarch], [part for part in library_path.split(b":") if part]):
        found = [
            directory + b"/" + name
            for directory in directories
            for name in _names(directory)
            if name.startswith(b"librustc_driver")
        ]
        if found:
            return found
    return []


def read_content(sysroot: bytes, programs: Iterable[bytes], drivers: list[bytes], hashes: Hashes) -> Content:
    """Read what identifies a toolchain: its programs, driver, LLVM and target libraries (160 MB more, 50 ms once).

    Raises:
        OSError: a file cannot be read.
    """
    whole = [*programs, *drivers, *_llvm(drivers)]
    rustlib = sysroot + b"/lib/rustlib"
    # With rust-src, messages quote the standard library and debug info names its real place.
    source = rustlib + b"/src/rust/library"
    watch = [*whole, rustlib, source]
    of_targets: list[bytes] = []
    for target in sorted(_names(rustlib)):
        spec = b"/".join((rustlib, target, b"target.json"))  # a specification installed with the toolchain
        if os.path.isfile(spec):
            of_targets.append(spec)
            watch.append(spec)
        for kind in (b"lib", b"bin", b"codegen-backends"):
            directory = b"/".join((rustlib, target, kind))
            if target in (b"src", b"etc") or not os.path.isdir(directory):
                continue
            watch.append(directory)
            found = list(_files(directory))
            of_targets += found
            watch += [path for path in found if os.path.basename(path) == b"rust-lld"]
    digests = hashes([*whole, *of_targets])
    parts = [b"rust-src" if os.path.exists(source) else b""]
    parts += [part for path in whole for part in (os.path.basename(path), digests[path])]
    parts += [part for path in of_targets for part in (path.removeprefix(rustlib), digests[path])]
    return Content(hash_parts(parts), tuple(dict.fromkeys(watch)), tuple(dict.fromkeys((*whole, *of_targets))))


def _llvm(drivers: list[bytes]) -> list[bytes]:
    """LLVM libraries beside the drivers; of several only those a driver names (a distribution has many)."""
    directories = dict.fromkeys(os.path.dirname(driver) for driver in drivers)
    found = [path + b"/" + name for path in directories for name in sorted(_names(path)) if name.startswith(b"libLLVM")]
    files = list({os.path.realpath(path): path for path in found}.values())
    # rustup's toolchains have a linker script of a few bytes beside the one library: reading both is quicker than
    # searching the driver for their names (60 ms).
    if sum(os.path.getsize(path) > _SCRIPT_BYTES for path in files) < 2:
        return files
    return [path for path in files if any(_mentions(driver, os.path.basename(path)) for driver in drivers)]


def _mentions(driver: bytes, name: bytes) -> bool:
    import mmap

    with open(driver, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return text.find(b"\0" + name + b"\0") >= 0


def _names(directory: bytes) -> list[bytes]:
    try:
        return os.listdir(directory)
    except OSError:
        return []


def _files(directory: bytes) -> Iterator[bytes]:
    for name in sorted(_names(directory)):
        path = directory + b"/" + name
        if os.path.isdir(path):
            yield from _files(path)
        elif os.path.isfile(path):
            yield path
