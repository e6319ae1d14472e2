"""The frames of docs/explanation/protocol.md, encoded and decoded.

Decoding a REQUEST is on the daemon's hot path: a list is one `split`, and no field is looked at twice.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, ClassVar

from kache.errors import KacheError

MAGIC = b"KCHE"
PROTOCOL_VERSION = 1
MAX_BODY_BYTES = 64 * 1024**2

_HEADER = struct.Struct("<4sBBHI")
_REQUEST = struct.Struct("<IIIIQ")
_RUN = struct.Struct("<QI")
_DONE = struct.Struct("<QiQQQQ")
_U32 = struct.Struct("<I")

HEADER_SIZE = _HEADER.size


class ProtocolError(KacheError):
    """Bytes that are not a frame, or a value no frame can hold."""

    code = "protocol"
    default_fix = "run kache daemon restart; builds go on without the cache"


class Kind(IntEnum):
    """What a frame is."""

    REQUEST = 1
    HIT = 2
    RUN = 3
    PASS = 4
    DONE = 5
    BUSY = 6
    CONTROL = 7
    REPLY = 8
    WAIT = 9


class RequestFlag(IntFlag):
    """Bits of `Request.flags`."""

    STDERR_IS_TERMINAL = 1
    STDOUT_IS_TERMINAL = 2
    ASIDE = 4
    """rustc answers this call meanwhile: nothing of it counts, it only makes the toolchain known."""


class RunFlag(IntFlag):
    """Bits of `Run.flags`."""

    WAIT_FOR_CLOSE = 1


@dataclass(frozen=True, slots=True)
class Request:
    """One call of the compiler.

    Attributes:
        mount_ns: inode of the caller's mount namespace, 0 where there is none.
        cwd: empty when it is deleted.
        argv: the compiler first.
        env: raw `NAME=VALUE` items, as the process has them.
    """

    kind: ClassVar[Kind] = Kind.REQUEST
    pid: int
    ppid: int
    umask: int
    flags: int
    mount_ns: int
    launcher_version: str
    cwd: bytes
    argv: list[bytes]
    env: list[bytes]

    def encode(self) -> bytes:
        """The whole frame."""
        fixed = _pack(_REQUEST, self.pid, self.ppid, self.umask, self.flags, self.mount_ns)
        texts = (_section(self.launcher_version.encode()), _section(self.cwd))
        return _frame(self.kind, fixed, *texts, _list(self.argv), _list(self.env))


@dataclass(frozen=True, slots=True)
class Hit:
    """The outputs are in place: print these and exit."""

    kind: ClassVar[Kind] = Kind.HIT
    exit_code: int
    stdout: bytes
    stderr: bytes

    def encode(self) -> bytes:
        """The whole frame."""
        return _frame(self.kind, _pack(_U32, self.exit_code), _section(self.stdout), _section(self.stderr))


@dataclass(frozen=True, slots=True)
class Run:
    """Run the compiler and report.

    Attributes:
        env_set: `NAME=VALUE` items on top of the caller's environment.
        replacements: flat: what to look for in stderr, what to print in its place, and so on.
        unlink: files to remove first.
        filter: what not to note when observing the compile; empty: do not observe.
    """

    kind: ClassVar[Kind] = Kind.RUN
    token: int
    flags: int
    argv: list[bytes]
    env_set: list[bytes]
    env_unset: list[bytes]
    replacements: list[bytes]
    unlink: list[bytes]
    filter: bytes = b""

    def encode(self) -> bytes:
        """The whole frame."""
        lists = (self.argv, self.env_set, self.env_unset, self.replacements, self.unlink)
        if not self.argv or len(self.replacements) % 2:
            raise ProtocolError("a RUN frame needs a program and pairs of replacements")
        return _frame(self.kind, _pack(_RUN, self.token, self.flags), *map(_list, lists), _section(self.filter))


@dataclass(frozen=True, slots=True)
class Pass:
    """Run the compiler as if kache were not there."""

    kind: ClassVar[Kind] = Kind.PASS
    reason: str

    def encode(self) -> bytes:
        """The whole frame."""
        return _frame(self.kind, _section(self.reason.encode()))


@dataclass(frozen=True, slots=True)
class Done:
    """How the compile of a RUN ended.

    Attributes:
        wait_status: as wait4(2) gives it.
        max_rss_kib: peak of the compiler alone.
        stdout: everything it printed; no replacement applied, here and in `stderr`.
        observed: what its processes looked at (docs/explanation/observed-inputs.md); empty if they were not observed.
    """

    kind: ClassVar[Kind] = Kind.DONE
    token: int
    wait_status: int
    user_us: int
    sys_us: int
    max_rss_kib: int
    wall_us: int
    stdout: bytes
    stderr: bytes
    observed: bytes = b""

    def encode(self) -> bytes:
        """The whole frame."""
        numbers = (self.token, self.wait_status, self.user_us, self.sys_us, self.max_rss_kib, self.wall_us)
        return _frame(self.kind, _pack(_DONE, *numbers), *map(_section, (self.stdout, self.stderr, self.observed)))


@dataclass(frozen=True, slots=True)
class Busy:
    """This engine will not serve the call: use the in-process one."""

    kind: ClassVar[Kind] = Kind.BUSY
    reason: str

    def encode(self) -> bytes:
        """The whole frame."""
        return _frame(self.kind, _section(self.reason.encode()))


@dataclass(frozen=True, slots=True)
class Wait:
    """The answer proper comes within so many seconds; the launcher is patient for as long."""

    kind: ClassVar[Kind] = Kind.WAIT
    seconds: int

    def encode(self) -> bytes:
        """The whole frame."""
        return _frame(self.kind, _pack(_U32, self.seconds))


@dataclass(frozen=True, slots=True)
class Control:
    """A command of the CLI to the daemon."""

    kind: ClassVar[Kind] = Kind.CONTROL
    message: dict[str, Any]

    def encode(self) -> bytes:
        """The whole frame."""
        return _frame(self.kind, _section(_to_json(self.message)))


@dataclass(frozen=True, slots=True)
class Reply:
    """The daemon's answer to a Control."""

    kind: ClassVar[Kind] = Kind.REPLY
    message: dict[str, Any]

    def encode(self) -> bytes:
        """The whole frame."""
        return _frame(self.kind, _section(_to_json(self.message)))


Frame = Request | Hit | Run | Pass | Done | Busy | Wait | Control | Reply


def parse_header(header: bytes) -> tuple[int, int]:
    """Kind and length in bytes of the body that follows.

    Raises:
        ProtocolError: no header of this protocol's version.
    """
    try:
        magic, version, kind, zero, length = _HEADER.unpack(header)
    except struct.error:
        raise ProtocolError(f"a frame's header has {HEADER_SIZE} bytes, not {len(header)}") from None
    if magic != MAGIC or version != PROTOCOL_VERSION or zero or length > MAX_BODY_BYTES:
        raise ProtocolError(f"{header!r} does not start a frame")
    return kind, length


def decode(kind: int, body: bytes | memoryview) -> Frame:
    """Read a frame's body.

    Raises:
        ProtocolError: an unknown kind, a body too short or too long, a list that does not end, text that is none.
    """
    reader = _Reader(bytes(body))
    try:
        frame = _DECODERS[kind](reader)
    except KeyError:
        raise ProtocolError(f"there is no frame of kind {kind}") from None
    except (struct.error, UnicodeDecodeError) as error:
        raise ProtocolError(f"a frame of kind {kind} is malformed", why=str(error)) from None
    if reader.at != len(reader.body):
        raise ProtocolError(f"a frame of kind {kind} has {len(reader.body) - reader.at} bytes too many")
    return frame


class _Reader:
    """Walks through one body."""

    __slots__ = ("at", "body")

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.at = 0

    def numbers(self, layout: struct.Struct) -> tuple[Any, ...]:
        found = layout.unpack_from(self.body, self.at)
        self.at += layout.size
        return found

    def section(self) -> bytes:
        start = self.at + 4
        (length,) = _U32.unpack_from(self.body, self.at)
        end = start + length
        if end > len(self.body):
            raise ProtocolError("a section is longer than its frame")
        self.at = end
        return self.body[start:end]

    def items(self) -> list[bytes]:
        section = self.section()
        if not section:
            return []
        items = section.split(b"\0")
        if items.pop():
            raise ProtocolError("a list does not end with NUL")
        return items

    def text(self) -> str:
        return self.section().decode()


def _decode_request(reader: _Reader) -> Request:
    pid, ppid, umask, flags, mount_ns = reader.numbers(_REQUEST)
    version, cwd = reader.text(), reader.section()
    return Request(pid, ppid, umask, flags, mount_ns, version, cwd, reader.items(), reader.items())


def _decode_hit(reader: _Reader) -> Hit:
    (exit_code,) = reader.numbers(_U32)
    return Hit(exit_code, reader.section(), reader.section())


def _decode_run(reader: _Reader) -> Run:
    token, flags = reader.numbers(_RUN)
    argv, env_set, env_unset, replacements = reader.items(), reader.items(), reader.items(), reader.items()
    run = Run(token, flags, argv, env_set, env_unset, replacements, reader.items(), reader.section())
    if not run.argv or len(run.replacements) % 2:
        raise ProtocolError("a RUN frame needs a program and pairs of replacements")
    return run


def _decode_done(reader: _Reader) -> Done:
    token, wait_status, user_us, sys_us, max_rss_kib, wall_us = reader.numbers(_DONE)
    texts = (reader.section(), reader.section(), reader.section())
    return Done(token, wait_status, user_us, sys_us, max_rss_kib, wall_us, *texts)


_DECODERS: dict[int, Callable[[_Reader], Frame]] = {
    Kind.REQUEST: _decode_request,
    Kind.HIT: _decode_hit,
    Kind.RUN: _decode_run,
    Kind.PASS: lambda reader: Pass(reader.text()),
    Kind.DONE: _decode_done,
    Kind.BUSY: lambda reader: Busy(reader.text()),
    Kind.WAIT: lambda reader: Wait(*reader.numbers(_U32)),
    Kind.CONTROL: lambda reader: Control(_from_json(reader.section())),
    Kind.REPLY: lambda reader: Reply(_from_json(reader.section())),
}


def _pack(layout: struct.Struct, *numbers: int) -> bytes:
    try:
        return layout.pack(*numbers)
    except struct.error as error:
        raise ProtocolError(f"{numbers} do not fit into a frame", why=str(error)) from None


def _section(data: bytes) -> bytes:
    return _pack(_U32, len(data)) + data


def _list(items: list[bytes]) -> bytes:
    data = b"".join([item + b"\0" for item in items])
    if data.count(b"\0") != len(items):
        raise ProtocolError("an item of a list has a NUL in it")
    return _section(data)


def _frame(kind: Kind, *parts: bytes) -> bytes:
    body = b"".join(parts)
    if len(body) > MAX_BODY_BYTES:
        raise ProtocolError(f"a frame of {len(body)} bytes is too long")
    return _HEADER.pack(MAGIC, PROTOCOL_VERSION, kind, 0, len(body)) + body


def _to_json(message: dict[str, Any]) -> bytes:
    import json  # control frames only: a compile never needs it

    return json.dumps(message, separators=(",", ":")).encode()


def _from_json(data: bytes) -> dict[str, Any]:
    import json

    try:
        message = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message is not JSON", why=str(error)) from None
    if not isinstance(message, dict):
        raise ProtocolError("a message is not a JSON object")
    return message
