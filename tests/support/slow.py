"""Compiles that take a while, watched from outside: the project `slow` of tests/support/projects.py."""

from __future__ import annotations

import os

from tests.support import processes
from tests.support.sandbox import Sandbox


class Slow:
    """What the macro of `slow` says in one box: through a pipe, since a compile that leaves a file is not stored.

    Args:
        box: every command in it writes to the pipe from now on.
    """

    def __init__(self, box: Sandbox) -> None:
        pipe = box.root / "slow.pipe"
        os.mkfifo(pipe)
        # Open for both, so that it never ends and nobody waits for the other side.
        self._pipe = os.open(pipe, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self._said = ""
        box.settings["SLOW_LOG"] = str(pipe)

    def _lines(self) -> list[list[str]]:
        while True:
            try:
                self._said += os.read(self._pipe, 1 << 16).decode()
            except BlockingIOError:
                return [line.split() for line in self._said.splitlines()]

    def words(self) -> list[str]:
        """What compiles noted: `start` and `end`, in order."""
        return [line[0] for line in self._lines()]

    def forget(self) -> None:
        """Begin anew: what was noted until now counts no longer."""
        self._lines()
        self._said = ""

    def rustc(self) -> int:
        """Wait until one sleeps, and give its process number."""
        processes.until(lambda: "start" in self.words(), limit_s=30, what="a slow compile began")
        return int(self._lines()[0][1])

    def __del__(self) -> None:
        os.close(self._pipe)
