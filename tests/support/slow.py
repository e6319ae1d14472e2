"""Compiles that take a while, watched from outside: the project `slow` of tests/support/projects.py."""

from __future__ import annotations

from tests.support import processes
from tests.support.sandbox import Sandbox


class Slow:
    """The log that the macro of `slow` writes in one box.

    Args:
        box: every command in it writes the log from now on.
    """

    def __init__(self, box: Sandbox) -> None:
        self.log = box.root / "slow.log"
        box.settings["SLOW_LOG"] = str(self.log)

    def words(self) -> list[str]:
        """What compiles noted: `start` and `end`, in order."""
        return [line.split()[0] for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def rustc(self) -> int:
        """Wait until one sleeps, and give its process number."""
        processes.until(lambda: "start" in self.words(), limit_s=30, what="a slow compile began")
        return int(self.log.read_text().split()[1])
