"""Which build a call belongs to: the cargo process above it."""

from __future__ import annotations

import os
from typing import NamedTuple

_REMEMBERED = 256
_MAX_CLIMB = 8
_MAX_ARGV_BYTES = 1 << 16
_COMPILING = (b"kache", b"rustc", b"clippy-driver", b"build-script", b"build_script")


class Build(NamedTuple):
    """One cargo command.

    Attributes:
        id: "<pid>-<start ticks>": unique on this machine until it reboots, and tells whether the process still lives.
        cwd: where it runs; the search for `.kache.toml` starts there, since registry crates compile elsewhere.
        command: its command line, for people.
        argv: the same as it was given.
    """

    id: str
    cwd: bytes
    command: str
    argv: tuple[bytes, ...] = ()


class _Process(NamedTuple):
    name: bytes
    state: bytes
    ppid: int
    ticks: str


class Builds:
    """Looks parents up in /proc; a parent seen before costs one read."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, str], Build] = {}

    def of(self, ppid: int) -> Build:
        """The build of a call's parent process; elsewhere than on Linux it is known by its number alone.

        A build script that calls rustc belongs to the cargo that runs the script.
        """
        parent = _process(ppid)
        if parent is None:
            return Build(f"{ppid}-0", b"", "")
        known = self._known.get((ppid, parent.ticks))
        if known is not None:
            return known
        if len(self._known) >= _REMEMBERED:
            self._known.clear()
        build = self._known[ppid, parent.ticks] = _cargo_above(ppid, parent)
        return build

    def announce(self, pid: int, argv: tuple[bytes, ...], cwd: bytes) -> Build:
        """Note the cargo that a process is about to become."""
        process = _process(pid)
        made = _described(f"{pid}-{process.ticks if process is not None else 0}", argv, cwd)
        if process is not None:
            self._known[pid, process.ticks] = made
        return made


def _cargo_above(ppid: int, parent: _Process) -> Build:
    pid, process = ppid, parent
    for _ in range(_MAX_CLIMB):
        if process.name.startswith(b"cargo"):
            return _build(pid, process)
        above = _process(process.ppid)
        if above is None:
            break
        pid, process = process.ppid, above
    return _build(ppid, parent)


def _build(pid: int, process: _Process) -> Build:
    return _described(f"{pid}-{process.ticks}", _argv(pid), _cwd(pid))


def _described(build_id: str, argv: tuple[bytes, ...], cwd: bytes) -> Build:
    name = os.path.basename(argv[0]) if argv else b""
    command = b" ".join([name, *argv[1:]]).decode(errors="replace").strip()
    return Build(build_id, cwd, command, argv)


def is_alive(build_id: str) -> bool:
    """Whether the process of a build still runs (a zombie does not)."""
    pid, _, ticks = build_id.partition("-")
    process = _process(int(pid))
    return process is not None and process.ticks == ticks and process.state not in (b"Z", b"X")


def is_over(build_id: str) -> bool:
    """Whether the cargo of a build has ended, or has become the program of `cargo run`."""
    pid, _, ticks = build_id.partition("-")
    process = _process(int(pid))
    if process is None or process.ticks != ticks or process.state in (b"Z", b"X"):
        return True
    return not process.name.startswith(b"cargo")


def is_compiling(build_id: str) -> bool:
    """Whether the cargo of a build has compilers or build scripts running.

    It may live on without: for the tests it runs, or as the very program of `cargo run`. Where its children cannot be
    seen, it counts as compiling until it ends.
    """
    pid, _, ticks = build_id.partition("-")
    process = _process(int(pid))
    if process is None or process.ticks != ticks or not process.name.startswith(b"cargo"):
        return False
    try:
        children = [child for task in os.listdir(f"/proc/{pid}/task") for child in _children(pid, task)]
    except OSError:
        return is_alive(build_id)
    return any(found is not None and found.name.startswith(_COMPILING) for found in map(_process, children))


def _children(pid: str, task: str) -> list[int]:
    with open(f"/proc/{pid}/task/{task}/children", "rb") as file:
        return [int(word) for word in file.read().split()]


def _process(pid: int) -> _Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except OSError:
        return None
    # The name may hold blanks and parentheses: fields count from behind its closing one (proc(5), 4 and 22).
    name, _, rest = text.partition(b"(")[2].rpartition(b") ")
    fields = rest.split()
    return _Process(name, fields[0], int(fields[1]), fields[19].decode())


def _cwd(pid: int) -> bytes:
    try:
        return os.readlink(f"/proc/{pid}/cwd".encode())
    except OSError:
        return b""


def _argv(pid: int) -> tuple[bytes, ...]:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return tuple(file.read(_MAX_ARGV_BYTES).split(b"\0")[:-1])
    except OSError:
        return ()
