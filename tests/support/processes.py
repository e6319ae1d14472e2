"""What /proc tells of the processes a test started, without a dependency on psutil."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POLL_S = 0.01


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        pid: its number.
        argv: its command line.
    """

    pid: int
    argv: tuple[str, ...]

    def runs(self, module: str) -> bool:
        """Whether it is a Python that runs this module (`-m module`)."""
        return "-m" in self.argv and module in self.argv


def with_variable(name: str, value: str) -> list[Process]:
    """Every living process that was started with this variable; a zombie has no environment any more."""
    wanted = os.fsencode(f"{name}={value}")
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdigit() or int(directory.name) == os.getpid():
            continue
        try:
            if wanted in (directory / "environ").read_bytes().split(b"\0"):
                words = (directory / "cmdline").read_bytes().rstrip(b"\0").split(b"\0")
                found.append(Process(int(directory.name), tuple(os.fsdecode(word) for word in words)))
        except OSError:
            continue  # it ended, or is another user's
    return found


def state(pid: int) -> str:
    """The letter of /proc/<pid>/stat (R, S, T, Z ...); empty once the process is gone."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return ""
    return text[text.rindex(")") + 2]


def runs(pid: int) -> bool:
    """Whether a process lives; a zombie does not."""
    return state(pid) not in ("", "Z", "X")


def until(condition: Callable[[], object], limit_s: float = 10.0, *, what: str = "") -> None:
    """Wait until something holds.

    Raises:
        AssertionError: it still does not after `limit_s` seconds.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {limit_s} s: {what or condition}"
        time.sleep(POLL_S)
