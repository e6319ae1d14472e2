"""Whole units for warm start: all files cargo wants to see of a compile or of a build script's run.

msgspec structs that encode as arrays (msgpack): fields may be appended with a default, never moved or removed.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from kache.core.digest import Digest, hash_parts
from kache.core.entry import MemoInput

RUN_KIND = "build-script-run"
"""Kind of the entries that hold what runs of build scripts left."""


def run_key(digests: Iterable[bytes]) -> Digest:
    """Key of the entry that holds what a run left, by the files that are no part of its unit."""
    return hash_parts([b"run", *digests])


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
        externs: (path below the target directory, digest) of every artifact it was compiled or linked against; of a
            run, of the script.
        natives: (normalised path, digest) of other keyed files (linker, C runtime); of a run, what it declared.
        cwd: where it was compiled, normalised.
        is_path: its package is part of this checkout: cargo compares dates with its sources.
        tied_to: `Checkout.tie` of the place it fits, where a path got in by value; else empty.
        host: identity of the tools a build script or a link finds; empty for what runs none.
        compile_ms: what making it took.
        files: the fingerprint file comes last.
        build: number of the last build of its set that left it.
        asked_by: what commands asked for its compile: `build`, `test` or `check`, with `+` where flags chose targets.
        runs: (fingerprint, digest of what it told cargo) of the build scripts' runs it depends on: their flags and
            variables are in no hash of cargo's.
        steering: digest of variables that rustc and linkers go by and cargo does not compare.
        observed: of a run that was watched, every input.
        is_open: it read, or wrote, what cargo does not track: it is never placed, nor is what is built on it.
        cargo_home: of whoever compiled a package below it: cargo's hash of such a unit has its path in it.
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
    build: int = 0
    cargo_home: bytes = b""
    asked_by: tuple[str, ...] = ()
    runs: tuple[tuple[str, bytes], ...] = ()
    steering: bytes = b""
    is_open: bool = False
    observed: tuple[MemoInput, ...] = ()

    @property
    def place(self) -> tuple[str, str]:
        """Where cargo looks for it: a target directory has one unit there at a time."""
        return self.directory, self.stem

    @property
    def version(self) -> tuple[object, ...]:
        """What tells two units of one place apart: cargo's own hash does not move with the sources of a checkout."""
        return (
            self.fingerprint,
            self.entry_key,
            self.natives,
            self.externs,
            self.runs,
            self.host,
            self.tied_to,
            self.observed,
        )


class SharedSet(msgspec.Struct, frozen=True, array_like=True):
    """What of a set waits to be sent to a remote.

    Attributes:
        workspace, profile, toolchain: as in `UnitSet`.
        lock: digest of the lock file.
        intent: kind of the build that left it.
        units: as they may leave this machine, dependencies first.
        keys: entries of what the build left beside those: units that cannot leave, whose hits can.
    """

    workspace: bytes
    profile: str
    toolchain: bytes
    lock: bytes
    intent: str
    units: tuple[Unit, ...]
    keys: tuple[bytes, ...] = ()


class UnitSet(msgspec.Struct, frozen=True, array_like=True):
    """What one profile directory of a workspace held after its last builds.

    Attributes:
        workspace: `Workspace.identity`.
        profile: directory below the target directory (`debug`, `x86_64-unknown-linux-gnu/release`).
        toolchain: identity of the compiler, with the settings that are not the usual ones.
        units: those that can be placed elsewhere, the last used first; of one there may be several versions (branches).
        builds: how many left something.
    """

    workspace: bytes
    profile: str
    toolchain: bytes
    units: tuple[Unit, ...]
    builds: int = 0
