"""The host's identity for build scripts: what they find on PATH and in the system without declaring it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc.native import LINK_ENV
from kache.core.digest import Digest, hash_parts

_PROGRAMS = ("cc", "gcc", "clang", "c++", "g++", "clang++", "ld", "ar", "nasm", "cmake", "make", "pkg-config", "protoc")
_PROGRAMS_MORE = ("python3", "perl", "git", "bindgen", "llvm-config")
_LIBRARIES = (
    b"/lib/x86_64-linux-gnu/libc.so.6",
    b"/lib/aarch64-linux-gnu/libc.so.6",
    b"/lib64/libc.so.6",
    b"/lib/libc.so",
)
_RUSTC = (
    b"RUSTC_BOOTSTRAP",
    b"RUSTC_LOG",
    b"RUSTC_FORCE_RUSTC_VERSION",
    b"CFG_VERSION",
    b"RUSTC_ICE",
    b"RUST_TARGET_PATH",
    b"RUSTC_BREAK_ON_ICE",
    b"CLIPPY_CONF_DIR",
)
_CARGOS = (b"LD_LIBRARY_PATH",)
"""cargo puts its own directories in front for the compiler, and does not for its first question."""
_ENV_PREFIXES = (
    b"CC",
    b"CXX",
    b"AR",
    b"CFLAGS",
    b"CXXFLAGS",
    b"LDFLAGS",
    b"PKG_CONFIG",
    b"CMAKE",
    b"LIBCLANG",
    b"TARGET_",
)
_ENV_MORE = (b"HOST_", b"SDKROOT", b"PROTOC", b"LLVM_", b"BINDGEN_", b"CRATE_CC")


def identity(env: Mapping[bytes, bytes], digests: FileDigests) -> Digest:
    """Digest of the system, of the programs PATH leads to, by content, and of the variables that steer them."""
    import shutil  # 5 ms, of compression libraries

    parts = [platform.system().encode(), platform.machine().encode()]
    path = os.fsdecode(env.get(b"PATH", b""))
    for program in (*_PROGRAMS, *_PROGRAMS_MORE):
        found = shutil.which(program, path=path)
        parts += [program.encode(), _content(os.fsencode(found), digests) if found else b""]
    parts += [_content(library, digests) for library in _LIBRARIES]
    for name in sorted(env):
        if name.startswith(_ENV_PREFIXES) or name.startswith(_ENV_MORE):
            parts += [name, env[name]]
    return hash_parts(parts)


def changed_ns(env: Mapping[bytes, bytes]) -> int:
    """When something that `identity` is made of changed last, as far as dates tell: programs, and what PATH names."""
    import shutil

    path = os.fsdecode(env.get(b"PATH", b""))
    found = (shutil.which(program, path=path) for program in (*_PROGRAMS, *_PROGRAMS_MORE))
    newest = max(map(_ctime_ns, _LIBRARIES), default=0)
    for program in found:
        newest = max(newest, _ctime_ns(os.fsencode(program)) if program else 0)
    return max((newest, *(_mtime_ns(os.fsencode(folder)) for folder in path.split(":") if folder)))


def steering(env: Mapping[bytes, bytes]) -> Digest:
    """Digest of the variables that change what rustc and linkers make, and that cargo has in no hash."""
    names = (*LINK_ENV, *_RUSTC)
    return hash_parts([part for name in names if name not in _CARGOS for part in (name, env.get(name, b"\0"))])


def _content(path: bytes, digests: FileDigests) -> bytes:
    try:
        return digests.digest(path)
    except OSError:
        return b""


def _ctime_ns(path: bytes) -> int:
    try:
        return max(os.stat(path).st_ctime_ns, os.lstat(path).st_ctime_ns)
    except OSError:
        return 0


def _mtime_ns(path: bytes) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
