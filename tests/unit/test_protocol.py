"""Frames: golden bytes that the launcher's own tests read too, and nothing but ProtocolError for anything else."""

from __future__ import annotations

import os
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kache.core.replacements import put_back
from kache.ipc.protocol import (
    HEADER_SIZE,
    MAX_BODY_BYTES,
    Busy,
    Control,
    Done,
    Frame,
    Hit,
    Kind,
    Pass,
    ProtocolError,
    Reply,
    Request,
    Run,
    Wait,
    decode,
    parse_header,
)

GOLDEN = Path(__file__).parents[1] / "golden"

FRAMES: dict[str, Frame] = {
    "request": Request(
        pid=4321,
        ppid=4320,
        umask=0o022,
        flags=3,
        mount_ns=4026531841,
        launcher_version="0.1.0",
        cwd=b"/home/me/\xff",
        argv=[b"rustc", b"--crate-name", b"caf\xe9", b""],
        env=[b"PATH=/bin", b"EMPTY=", b"ODD"],
    ),
    "request-empty": Request(
        pid=0, ppid=0, umask=0, flags=0, mount_ns=0, launcher_version="", cwd=b"", argv=[], env=[]
    ),
    "hit": Hit(exit_code=0, stdout=b"out\n", stderr=b"\x00\xff\n"),
    "run": Run(
        token=2**64 - 1,
        flags=1,
        argv=[b"rustc", b"", b"-"],
        env_set=[b"A=1", b"B="],
        env_unset=[b"C"],
        replacements=[b"/proc/self/cwd", b"/home/me", b"/x", b""],
        unlink=[b"/t/\xfe.rmeta"],
        filter=b"P/proc/\0",
    ),
    "run-bare": Run(token=0, flags=0, argv=[b"true"], env_set=[], env_unset=[], replacements=[], unlink=[]),
    "pass": Pass(reason="not-rustc"),
    "done": Done(
        token=7,
        wait_status=-1,
        user_us=1,
        sys_us=2,
        max_rss_kib=3,
        wall_us=2**40,
        stdout=b"",
        stderr=b"error\n",
        observed=b"\0e1\x02\0CI\0\0",
    ),
    "busy": Busy(reason="version"),
    "control": Control(message={"op": "status"}),
    "reply": Reply(message={"pid": 1, "cache_dir": "/caf\u00e9"}),
    "wait": Wait(seconds=90),
}

# name: text, what comes out, what to look for and to print
REPLACEMENTS: dict[str, tuple[bytes, ...]] = {
    "whole components": (
        b"/ws/a /ws2 /ws-b /ws.c /ws~ /ws@ /ws+ /ws_ /ws",
        b"/h/a /ws2 /ws-b /ws.c /ws~ /ws@ /ws+ /ws_ /h",
        b"/ws",
        b"/h",
    ),
    "escaped newline of JSON": (b'"/ws\\n/ws:1"\n', b'"/h\\n/h:1"\n', b"/ws", b"/h"),
    "not ASCII": (b"/ws\xc3\xa9 /ws\x7f", b"/ws\xc3\xa9 /h\x7f", b"/ws", b"/h"),
    "in order": (b"/a", b"/c", b"/a", b"/b", b"/b", b"/c"),
    "not again": (b"/a:/a", b"/a/a:/a/a", b"/a", b"/a/a"),
    "only where a path begins": (
        b"https://x/ws/a /usr/share/ws/a ../ws a/ws -/ws n/ws m/ws 0;1m/ws (/ws) =/ws",
        b"https://x/ws/a /usr/share/ws/a ../ws a/ws -/ws n/ws m/ws 0;1m/ws (/h) =/h",
        b"/ws",
        b"/h",
    ),
    "after a colour": (b'\x1b[38;5;12m/ws \\u001b[0m/ws"', b'\x1b[38;5;12m/h \\u001b[0m/h"', b"/ws", b"/h"),
    "overlapping": (b"aaa", b"aaa", b"aa", b"x"),
    "special characters": (b"/a.b*/c /axb", b"\\1\\g<0>/c /axb", b"/a.b*", b"\\1\\g<0>"),
    "nothing to look for": (b"text\n", b"text\n", b"", b"x"),
    "away with it": (b"/a/b", b"/b", b"/a", b""),
}


def golden(name: str, lines: list[str]) -> list[str]:
    """The lines of a golden file, written anew when asked to."""
    path = GOLDEN / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text("".join(f"{line}\n" for line in lines))
    return path.read_text().splitlines()


def test_golden_frames() -> None:
    lines = [f"{name}\t{frame.encode().hex()}" for name, frame in FRAMES.items()]
    assert lines == golden("frames.txt", lines)


def test_golden_frames_are_read_back() -> None:
    for line in (GOLDEN / "frames.txt").read_text().splitlines():
        name, _, text = line.partition("\t")
        data = bytes.fromhex(text)
        kind, length = parse_header(data[:HEADER_SIZE])
        assert length == len(data) - HEADER_SIZE
        assert decode(kind, memoryview(data)[HEADER_SIZE:]) == FRAMES[name]


def test_every_kind_has_a_golden_frame() -> None:
    assert {frame.kind for frame in FRAMES.values()} == set(Kind)


def test_golden_replacements() -> None:
    lines = ["\t".join([name, *(part.hex() for part in parts)]) for name, parts in REPLACEMENTS.items()]
    assert lines == golden("replacements.txt", lines)


@pytest.mark.parametrize("name", REPLACEMENTS)
def test_replacements(name: str) -> None:
    text, expected, *pairs = REPLACEMENTS[name]
    assert put_back(text, pairs) == expected


# --- properties ---

ITEM = st.binary(max_size=20).map(lambda data: data.replace(b"\0", b""))
ITEMS = st.lists(ITEM, max_size=5)
JSON = st.dictionaries(
    st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(max_size=10), max_size=4
)
U32, U64 = st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)
I32 = st.integers(-(2**31), 2**31 - 1)
SPECIAL: dict[tuple[str, str], st.SearchStrategy[Any]] = {
    ("Request", "mount_ns"): U64,
    ("Run", "token"): U64,
    ("Run", "argv"): st.lists(ITEM, min_size=1, max_size=5),
    ("Run", "replacements"): st.lists(st.tuples(ITEM, ITEM), max_size=3).map(
        lambda pairs: [x for p in pairs for x in p]
    ),
    ("Done", "wait_status"): I32,
}
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "int": U32,
    "str": st.text(max_size=10),
    "bytes": st.binary(max_size=30),
    "list[bytes]": ITEMS,
    "dict[str, Any]": JSON,
}


def frames_of(kind: type[Any]) -> st.SearchStrategy[Any]:
    named = {
        field.name: SPECIAL.get((kind.__name__, field.name), BY_TYPE[str(field.type)])
        for field in fields(kind)
        if field.name != "kind"
    }
    return st.builds(kind, **named)


ANY_FRAME = st.one_of(*(frames_of(kind) for kind in (Request, Hit, Run, Pass, Done, Busy, Wait, Control, Reply)))


@given(ANY_FRAME)
def test_what_is_encoded_is_decoded(frame: Frame) -> None:
    data = frame.encode()
    kind, length = parse_header(data[:HEADER_SIZE])
    assert len(data) == HEADER_SIZE + length
    assert decode(kind, data[HEADER_SIZE:]) == frame


@given(st.integers(0, 12), st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_protocol_error(kind: int, body: bytes) -> None:
    try:
        decode(kind, body)
    except ProtocolError:
        return


@given(ANY_FRAME, st.data())
def test_a_damaged_frame_is_a_frame_or_a_protocol_error(frame: Frame, data: st.DataObject) -> None:
    body = bytearray(frame.encode()[HEADER_SIZE:])
    if not body:
        return
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] = data.draw(st.integers(0, 255))
    try:
        decode(frame.kind, bytes(body[: data.draw(st.integers(at, len(body)))]))
    except ProtocolError:
        return


@given(st.binary(max_size=20))
def test_any_bytes_are_a_header_or_a_protocol_error(header: bytes) -> None:
    try:
        parse_header(header)
    except ProtocolError:
        return


# --- what no frame can hold, and what is none ---


@pytest.mark.parametrize(
    "frame",
    [
        Hit(exit_code=-1, stdout=b"", stderr=b""),
        Wait(seconds=2**32),
        Run(token=0, flags=0, argv=[], env_set=[], env_unset=[], replacements=[], unlink=[]),
        Run(token=0, flags=0, argv=[b"a\0b"], env_set=[], env_unset=[], replacements=[], unlink=[]),
        Run(token=0, flags=0, argv=[b"a"], env_set=[], env_unset=[], replacements=[b"odd"], unlink=[]),
    ],
)
def test_values_that_do_not_fit(frame: Frame) -> None:
    with pytest.raises(ProtocolError):
        frame.encode()


def test_a_frame_too_long() -> None:
    with pytest.raises(ProtocolError, match="too long"):
        Hit(exit_code=0, stdout=b"", stderr=bytes(MAX_BODY_BYTES)).encode()


@pytest.mark.parametrize(
    "header",
    [
        b"",
        b"KCHE\x01\x01\0\0\0\0\0",
        b"ECHK\x01\x01\0\0\0\0\0\0",
        b"KCHE\x02\x01\0\0\0\0\0\0",
        b"KCHE\x01\x01\0\x01\0\0\0\0",
        b"KCHE\x01\x01\0\0\x01\0\0\x04",
    ],
)
def test_headers_that_are_none(header: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_header(header)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (0, b""),
        (99, b""),
        (Kind.WAIT, b"\0\0\0"),
        (Kind.WAIT, b"\0\0\0\0\0"),
        (Kind.PASS, b"\xff\xff\xff\xff"),
        (Kind.PASS, b"\x01\0\0\0\xff"),
        (Kind.CONTROL, b"\x02\0\0\0[]"),
        (Kind.CONTROL, b"\x01\0\0\0{"),
        (Kind.CONTROL, b"\x20\x4e\0\0" + b"[" * 20_000),
    ],
)
def test_bodies_that_are_none(kind: int, body: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(kind, body)


def test_a_list_that_does_not_end() -> None:
    frame = Run(token=0, flags=0, argv=[b"ab"], env_set=[], env_unset=[], replacements=[], unlink=[]).encode()
    broken = re.sub(rb"ab\0", b"abc", frame[HEADER_SIZE:])
    with pytest.raises(ProtocolError, match="end with NUL"):
        decode(Kind.RUN, broken)
