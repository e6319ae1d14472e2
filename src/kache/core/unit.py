"""Whole units for warm start: all files cargo wants to see of a compile or of a build script's run.

msgspec structs that encode as arrays (msgpack): fields may be appended with a default, never moved or removed.
"""

from __future__ import annotations

import msgspec


class UnitFile(msgspec.Struct, frozen=True, array_like=True):
    """One file of a unit.

    Attributes:
        path: relative to the target directory; undecodable bytes as surrogates.
        mtime_ns: the producer's.
        executable: it has the execute bits that the umask allows.
        digest: blob in the store, or empty when `content` holds the file.
        size: in bytes.
        content: the file itself, with placeholders where `is_template`.
        is_template: paths in the content are this checkout's.
        shared: nothing writes it in place: it may be a hardlink with its old date.
    """

    path: str
    mtime_ns: int
    executable: bool = False
    digest: bytes = b""
    size: int = 0
    content: bytes = b""
    is_template: bool = False
    shared: bool = False


class Unit(msgspec.Struct, frozen=True, array_like=True):
    """One unit as a finished build left it.

    Attributes:
        directory: its fingerprint directory, relative to the target directory (`debug/.fingerprint/libc-0123…`).
        stem: name of its fingerprint file (`lib-libc`, `run-build-script-build-script-build`).
        fingerprint: cargo's hash of it, hexadecimal: the content of that file.
        deps: fingerprints of the units it depends on.
        entry_key: entry of its compile; empty for a build script's run.
        weak_key: weak key of that entry.
        externs: (file name, digest) of every artifact it was compiled or linked against.
        natives: (normalised path, digest) of other keyed files (linker, C runtime); of a run, what it declared.
        cwd: where it was compiled, normalised.
        is_path: its package is part of this checkout: cargo compares dates with its sources.
        tied_to: real path of the target directory it fits, where a path got in by value; else empty.
        host: identity of the tools a build script or a link finds; empty for what runs none.
        compile_ms: what making it took.
        files: the fingerprint file comes last.
    """

    directory: str
    stem: str
    fingerprint: str
    deps: tuple[str, ...]
    entry_key: bytes
    weak_key: bytes
    externs: tuple[tuple[str, bytes], ...]
    natives: tuple[tuple[bytes, bytes], ...]
    cwd: bytes
    is_path: bool
    tied_to: bytes
    host: bytes
    compile_ms: int
    files: tuple[UnitFile, ...]


class UnitSet(msgspec.Struct, frozen=True, array_like=True):
    """What one profile directory of a workspace held after a build.

    Attributes:
        workspace: `Workspace.identity`.
        profile: directory below the target directory (`debug`, `x86_64-unknown-linux-gnu/release`).
        toolchain: identity of the compiler.
        units: those that can be placed elsewhere.
    """

    workspace: bytes
    profile: str
    toolchain: bytes
    units: tuple[Unit, ...]
