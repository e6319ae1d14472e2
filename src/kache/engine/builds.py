"""Which build a call belongs to: the cargo process that is its parent."""

from __future__ import annotations

import os
from typing import NamedTuple

_REMEMBERED = 256


class Build(NamedTuple):
    """One cargo command.

    Attributes:
        id: "<pid>-<start ticks>": unique on this machine until it reboots, and tells whether the process still lives.
        cwd: where it runs; the search for `.kache.toml` starts there, since registry crates compile elsewhere.
        command: its command line, for people.
    """

    id: str
    cwd: bytes
    command: str


class Builds:
    """Looks parents up in /proc; a parent seen before costs one read."""

    def __init__(self) -> None:
        self._known: dict[str, Build] = {}

    def of(self, ppid: int) -> Build:
        """The build of a parent process; elsewhere than on Linux it is known by its number alone."""
        try:
            with open(f"/proc/{ppid}/stat", "rb") as file:
                text = file.read()
        except OSError:
            return Build(f"{ppid}-0", b"", "")
        # The name may hold blanks and parentheses: fields count from behind its closing one (proc(5), field 22).
        ticks = text[text.rindex(b")") + 2 :].split()[19].decode()
        build_id = f"{ppid}-{ticks}"
        known = self._known.get(build_id)
        if known is not None:
            return known
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        build = Build(build_id, _cwd(ppid), _command(ppid))
        self._known[build_id] = build
        return build


def _cwd(pid: int) -> bytes:
    try:
        return os.readlink(f"/proc/{pid}/cwd".encode())
    except OSError:
        return b""


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read(4096).split(b"\0")
    except OSError:
        return ""
    return " ".join(
        [os.path.basename(words[0]).decode(errors="replace"), *(w.decode(errors="replace") for w in words[1:])]
    ).strip()
