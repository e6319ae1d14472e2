"""Repeat a compiler call that cargo once made, at the speed the kernel allows, and time each."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

from bench.errors import BenchError

T = TypeVar("T")

# cargo's jobserver is gone by the time a call is repeated, and the wrapper of the recording is not the one measured.
STALE = {
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "MFLAGS",
    "RUSTC_WRAPPER",
    "NOTHING_DIR",
    "NOTHING_ROOT",
    "NOTHING_LOG",
    "NOTHING_MODE",
}


@dataclass(frozen=True)
class RecordedCall:
    """A call as the do-nothing wrapper recorded it.

    Attributes:
        unit: crate name and metadata hash.
        argv: the compiler and its arguments.
        env: the environment cargo set up, without what has gone stale.
        cwd: where cargo ran it.
    """

    unit: str
    argv: list[str]
    env: dict[str, str]
    cwd: Path

    @classmethod
    def read(cls, recording: Path) -> RecordedCall:
        """Read a unit's recording."""
        words = {name: os.fsdecode((recording / name).read_bytes()) for name in ("argv", "env", "cwd")}
        env = dict(pair.split("=", 1) for pair in words["env"].split("\0") if "=" in pair)
        kept = {name: value for name, value in env.items() if name not in STALE}
        return cls(recording.name, words["argv"].split("\0")[:-1], kept, Path(words["cwd"]))

    @property
    def is_library(self) -> bool:
        """Whether the call makes an rlib."""
        return any(a == "--crate-type" and b in ("lib", "rlib") for a, b in pairwise(self.argv))


@dataclass(frozen=True)
class Contestant:
    """Something to start again and again: a program, its arguments and environment."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]


def spawn_timed(contestant: Contestant, null: int) -> tuple[float, int]:
    """Start a program and wait for it; return the wall seconds and its exit code.

    posix_spawn and not subprocess: the latter's own work of about a millisecond would drown what is measured.
    """
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1), (os.POSIX_SPAWN_DUP2, null, 2)]
    started = time.perf_counter()
    pid = os.posix_spawn(contestant.argv[0], list(contestant.argv), dict(contestant.env), file_actions=actions)
    _, status = os.waitpid(pid, 0)
    return time.perf_counter() - started, os.waitstatus_to_exitcode(status)


def race(contestants: Sequence[Contestant], loops: int, cwd: Path) -> dict[str, list[float]]:
    """Start every contestant `loops` times, taking turns, one at a time; return the wall seconds of each start.

    Raises:
        BenchError: one of them failed: a failing program's time says nothing.
    """
    return in_directory(cwd, lambda null: _race(contestants, loops, null))


def _race(contestants: Sequence[Contestant], loops: int, null: int) -> dict[str, list[float]]:
    walls: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
    for turn in range(-3, loops):  # three turns to warm up
        for contestant in contestants:
            wall_s, code = spawn_timed(contestant, null)
            if code:
                raise BenchError(
                    f"{contestant.name} ended with status {code}", " ".join(contestant.argv)[:300], "run it by hand"
                )
            if turn >= 0:
                walls[contestant.name].append(wall_s)
    return walls


def in_directory(cwd: Path, work: Callable[[int], T]) -> T:
    """Do something in a directory with /dev/null open: posix_spawn has no `cwd`."""
    here = Path.cwd()
    null = os.open(os.devnull, os.O_RDWR)
    os.chdir(cwd)
    try:
        return work(null)
    finally:
        os.chdir(here)
        os.close(null)
