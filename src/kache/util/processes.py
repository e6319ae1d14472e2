"""Processes as /proc shows them: is one still alive, when did it start, which boot is this."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@cache
def boot_id() -> str:
    """An id of the running boot, short as it is kept with every blob; empty where the system gives none."""
    try:
        return _BOOT_ID.read_text()[:8]
    except OSError:
        return ""


def start_ticks(pid: int) -> int | None:
    """Field 22 of /proc/PID/stat: clock ticks from boot to the start of the process. None: there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name in field 2 may hold blanks and parentheses: count from its end.
    fields = text[text.rindex(b")") + 2 :].split()
    return int(fields[19]) if fields[0] not in (b"Z", b"X") else None


@cache
def _boot_time_ns() -> int:
    try:
        for line in Path("/proc/stat").read_bytes().splitlines():
            if line.startswith(b"btime "):
                return int(line.split()[1]) * 1_000_000_000
    except OSError:
        pass
    return 0


def started_ns(ticks: int) -> int:
    """Wall clock of a start, ns since the Unix epoch; up to 1 s early, as the time of boot is known in seconds."""
    return _boot_time_ns() + ticks * (1_000_000_000 // os.sysconf("SC_CLK_TCK"))


@cache
def pid_namespace() -> str:
    """Id of the pid namespace: pids can be compared only within one."""
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""
