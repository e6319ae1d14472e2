"""Hits chosen to be compiled again: put into a queue that a process of its own works off (`kache.verifier`).

The queue is a directory, so that the daemon and engines inside calls share it, and nobody waits for a compile. A hit is
one file: msgpack of a `Task`. It holds the caller's environment, so it is this user's alone and goes once it was read.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec

from kache.core.entry import Entry
from kache.engine.builds import Build
from kache.ipc.lifecycle import daemon_environment
from kache.ipc.protocol import Request
from kache.util import atomic, processes

DIRECTORY = "verify"
"""Below the cache dir: `queue/`, the lock of the one verifier, and a directory for each difference found lately."""
LOCK_NAME = "lock"
SAMPLED_ONE_IN = 64
_MAX_QUEUED = 5000

log = logging.getLogger("kache")


class Task(msgspec.Struct, frozen=True, array_like=True):
    """One hit to be verified.

    Attributes:
        request: the call's frame.
        build: the cargo command it belongs to.
        build_cwd: where that runs.
        key: the entry that was served.
    """

    request: bytes
    build: str
    build_cwd: bytes
    key: bytes


class Verification:
    """Chooses hits and queues them.

    Args:
        cache_dir: where the queue is.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._queued = 0

    def consider(self, request: Request, build: Build, entry: Entry, mode: str) -> None:
        """Queue a hit if the setting `verify` says so; a failure is logged, the hit stands."""
        if mode == "off" or (mode == "sampled" and random.randrange(SAMPLED_ONE_IN)):  # noqa: S311 - no secret
            return
        task = Task(request.encode(), build.id, build.cwd, entry.key)
        try:
            put(self._cache_dir, task, self._queued)
            self._queued += 1
            lock = take(self._cache_dir)
            if lock is not None:
                _start(self._cache_dir, lock)
        except OSError as error:
            log.warning("cannot queue %s for verification: %s", entry.crate_name, error)


def put(cache_dir: Path, task: Task, number: int) -> None:
    """Queue a task under a name that sorts by time.

    Raises:
        OSError: it cannot be written.
    """
    queue = queue_of(cache_dir)
    queue.mkdir(mode=0o700, parents=True, exist_ok=True)
    if len(os.listdir(queue)) < _MAX_QUEUED:
        atomic.write(queue / f"{time.time_ns():020}-{os.getpid()}-{number}", msgspec.msgpack.encode(task))


def queue_of(cache_dir: Path) -> Path:
    """The directory of the tasks."""
    return cache_dir / DIRECTORY / "queue"


def tasks(cache_dir: Path) -> list[Path]:
    """What waits, the oldest first."""
    return sorted(path for path in queue_of(cache_dir).iterdir() if not path.name.startswith("."))


def take(cache_dir: Path) -> int | None:
    """The verifier's lock, held until the descriptor is closed; None if another process has it.

    Raises:
        OSError: the file cannot be made.
    """
    fd = os.open(cache_dir / DIRECTORY / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with contextlib.suppress(BlockingIOError):
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return fd
    os.close(fd)
    return None


def _start(cache_dir: Path, lock: int) -> None:
    """Start a verifier that has the lock already, so that of a hundred hits at once only one starts one."""
    try:
        process = processes.start(
            [sys.executable, "-I", "-m", "kache.verifier", str(cache_dir), str(lock)],
            env=daemon_environment(os.environ),
            cwd="/",
            umask=0o077,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=(lock,),
        )
    finally:
        os.close(lock)
    threading.Thread(target=process.wait, daemon=True).start()  # no zombie stays with a daemon
