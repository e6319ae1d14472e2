"""Run a process and account for all it cost: its own tree by wait4, a daemon by /proc."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """What a finished process and its waited-for descendants used.

    Attributes:
        wall_s: from just before the spawn to the end.
        cpu_s: user + system time of the process tree; a daemon that detached itself is not in it.
        output: the end of stdout and stderr, merged.
        exit_code: as the shell counts, 128 + N when killed by signal N.
    """

    wall_s: float
    cpu_s: float
    output: str
    exit_code: int


def run_measured(
    argv: Sequence[str],
    env: Mapping[str, str],
    cwd: Path,
    on_chunk: Callable[[str], None] | None = None,
) -> Usage:
    """Run a command to its end in a process group of its own.

    Args:
        argv: the command.
        env: its whole environment.
        cwd: where it runs.
        on_chunk: called with the output as it arrives (progress); without it output is only kept.

    Raises:
        KeyboardInterrupt: after the whole group was ended, so Ctrl-C leaves no rustc behind.
    """
    started = time.perf_counter()
    # A group of its own: Ctrl-C then reaches this program alone, which ends the group and waits for it.
    child = subprocess.Popen(
        argv,
        env=dict(env),
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    assert child.stdout is not None
    try:
        with child.stdout:
            output = _drain(child.stdout, on_chunk)
        _, status, used = os.wait4(child.pid, 0)
    except BaseException:
        _end_group(child)
        raise
    wall_s = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    child.returncode = code
    return Usage(wall_s, used.ru_utime + used.ru_stime, output, code if code >= 0 else 128 - code)


def _drain(pipe: IO[bytes], on_chunk: Callable[[str], None] | None) -> str:
    chunks: list[bytes] = []
    while chunk := os.read(pipe.fileno(), 65536):
        chunks.append(chunk)
        if on_chunk is not None:
            on_chunk(chunk.decode(errors="replace"))
    return b"".join(chunks).decode(errors="replace")


def _end_group(child: subprocess.Popen[bytes]) -> None:
    for number, grace_s in ((signal.SIGTERM, 3.0), (signal.SIGKILL, 3.0)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace_s)
            return


def process_cpu_s(pid: int | None) -> float:
    """Return user + system seconds of a living process and of its waited-for children; 0.0 if there is none."""
    if pid is None:
        return 0.0
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    # The command name may hold spaces and parentheses: fields are counted from after its closing one (proc(5)).
    fields = text[text.rindex(")") + 2 :].split()
    return sum(int(field) for field in fields[11:15]) / TICKS_PER_SECOND


def process_rss_bytes(pid: int) -> int:
    """Return the resident memory of a living process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def tail(text: str, lines: int = 15) -> str:
    """Return the last lines of a command's output, without progress bars and blank lines."""
    kept = [line.rsplit("\r", 1)[-1] for line in text.splitlines()]
    return "\n".join([line for line in kept if line.strip() and "Building [" not in line][-lines:])
