"""What the store keeps: artifacts, entries, input memos, events.

All are msgspec structs that encode as arrays (msgpack): fields may be appended with a default, never moved or removed.
"""

from __future__ import annotations

import enum
import os
from typing import NamedTuple

import msgspec


class FileIdentity(NamedTuple):
    """What stat says of a file's content: equal identities of a settled file mean equal bytes."""

    dev: int
    ino: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> FileIdentity:
        """Take it from a stat result."""
        return cls(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Role(enum.StrEnum):
    """What an artifact is: decides how it is stored and restored."""

    RLIB = "rlib"
    RMETA = "rmeta"
    LINKED = "linked"
    """What a linker or archiver writes and people may change in place: bin, test, dylib, proc macro, staticlib."""
    DEBUG = "debug"
    """Split debug info: .dwo, .dwp."""


class Artifact(msgspec.Struct, frozen=True, array_like=True):
    """One output of a compile.

    Attributes:
        name: file name in the unit's out dir.
        role: what it is.
        digest: of its content.
        size: in bytes.
        executable: it has the execute bits that the umask allows.
    """

    name: str
    role: Role
    digest: bytes
    size: int
    executable: bool


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """What a cache key maps to.

    Attributes:
        key: cache key.
        weak_key: key without the closure.
        crate_name: rustc's name of the crate; of a build script that of its package.
        unit_kind: lib, bin, test, build-script, proc-macro, ...
        compile_ms: wall time of the compile.
        artifacts: outputs but the dep-info file.
        dep_info_name: file name of the dep-info file in the out dir.
        dep_info: its text with placeholders for this checkout's paths.
        stdout: what the compiler printed, with placeholders.
        stderr: the same for stderr.
        links: stems (`libfoo-0123`) of the rlibs and dylibs given by --extern: the edges a later link follows.
    """

    key: bytes
    weak_key: bytes
    crate_name: str
    unit_kind: str
    compile_ms: int
    artifacts: tuple[Artifact, ...]
    dep_info_name: str
    dep_info: bytes
    stdout: bytes
    stderr: bytes
    links: tuple[str, ...]


class InputKind(enum.StrEnum):
    """Kind of an input in a memo."""

    FILE = "f"
    """value: digest of its content."""
    ABSENT = "a"
    """value: empty; the path must not exist."""
    DIRECTORY = "d"
    """value: digest of the sorted names."""
    PRESENT = "s"
    """value: `d` if the path must be a directory, `f` if a file; nobody looked into it."""
    ENV = "e"
    """name: variable that rustc tracks, and cargo with it; value: empty if unset, else 0x01 (0x02 if normalised) +
    salted digest of the value."""
    READ = "v"
    """The same of a variable that was seen to be read."""
    PROGRAM = "p"
    """name: program searched on PATH; value: digest of what it resolves to, empty if nothing."""
    FACT = "x"
    """name: a fact of the invocation (presentation flags, a root's real path, the environment); value: digest."""


class MemoInput(msgspec.Struct, frozen=True, array_like=True):
    """One typed input: kind, normalised path or name, expected value."""

    kind: InputKind
    name: bytes
    value: bytes


class InputMemo(msgspec.Struct, frozen=True, array_like=True):
    """The closure a compile really read: under a weak key, it leads to an entry's key.

    Attributes:
        notes: what was seen and is no input, for people: the reason as value; None where nothing was observed, and
            where the memo was read for a lookup.
    """

    weak_key: bytes
    key: bytes
    inputs: tuple[MemoInput, ...]
    notes: tuple[MemoInput, ...] | None = None


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """How one rustc call ended.

    Attributes:
        at_ns: wall clock, ns since the Unix epoch.
        build: "<pid>-<start ticks>" of the parent process (cargo).
        build_root: working directory of that process, for people.
        build_command: its command line, for people.
        outcome: value of `Outcome`.
        reason: value of `Reason` or empty; of a verification that differs, the files that do.
        elapsed_us: time kache itself took.
        compile_ms: wall time of the compile: this one's for a miss, the recorded one's for a hit.
        entry_key: the entry served, to count its hits.
        inputs: labelled key inputs for why-miss: zlib over msgpack of [label, value] pairs; None for a hit.
    """

    at_ns: int
    build: str
    outcome: str
    build_root: str = ""
    build_command: str = ""
    crate_name: str = ""
    unit_kind: str = ""
    reason: str = ""
    elapsed_us: int = 0
    compile_ms: int = 0
    linked_bytes: int = 0
    cloned_bytes: int = 0
    copied_bytes: int = 0
    entry_key: bytes | None = None
    inputs: bytes | None = None
