"""Processes: making one, and what /proc shows of them: is one still alive, when did it start, which boot is this."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

FORKING = threading.Lock()
"""Held while a process is made, and while a file that was just written gets its name and is closed.

A new process has every descriptor of ours until it runs its program. With one open for writing in there, cargo cannot
run the program we put in place: "Text file busy", seen on a busy machine.
"""


def mount_ns() -> int:
    """Which mount namespace this process sees files in; 0 where there are none."""
    try:
        return os.stat("/proc/self/ns/mnt").st_ino
    except OSError:
        return 0


def start(argv: Sequence[str | bytes], **how: Any) -> subprocess.Popen[bytes]:
    """Start a process; returns when its program runs.

    Raises:
        OSError: it cannot be run.
    """
    with FORKING:
        return subprocess.Popen(argv, **how)


def run(argv: Sequence[str | bytes], timeout_s: float, **how: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a process to its end, with nothing on stdin, and take what it prints.

    Raises:
        OSError: it cannot be run.
        subprocess.TimeoutExpired: it took too long, and was killed.
    """
    pipe = subprocess.PIPE
    with start(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, **how) as process:
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)


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
