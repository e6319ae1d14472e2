"""The daemon: one per cache dir, on one unix socket, for its own user alone."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
import socket
import stat
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from kache import __version__
from kache.config import paths
from kache.config.load import Config
from kache.daemon import warming
from kache.daemon.connection import Connection
from kache.daemon.prefetches import Prefetches
from kache.daemon.services import (
    capture,
    edit_states,
    flush,
    idle_exit,
    learn,
    report,
    self_restart,
    store_care,
    upload,
)
from kache.daemon.transfers import Transfers
from kache.daemon.watching import Watching
from kache.engine.builds import Build, is_over
from kache.engine.engine import Engine
from kache.engine.requests import Announcement
from kache.engine.single_flight import SingleFlight
from kache.errors import CacheDirError, StoreError
from kache.store.local import LocalStore
from kache.util import processes

log = logging.getLogger("kache")
T = TypeVar("T")
LOCK_NAME = "daemon.lock"
LOCK_LIMIT_S = 5.0
"""How long a new daemon waits for the lock of one that does not answer."""
_LOCK_POLL_S = 0.02
BACKLOG = 1024
DRAIN_S = 10.0
_WORKERS = 3


class Server:
    """State of the running daemon.

    Args:
        config: settings of the environment it was started in.
        store: the open store.
        loop: its event loop.
    """

    def __init__(self, config: Config, store: LocalStore, loop: asyncio.AbstractEventLoop) -> None:
        self.config = config
        self.cache_dir = config.cache_dir
        self.engine = Engine(store, config.cache_dir, paths.state_dir(os.environ))
        self.flights = SingleFlight(self.engine.digests, store.memos, store.expected_compile_s)
        self.transfers = Transfers(self)
        self.prefetches = Prefetches(self)
        self.loop = loop
        self.watching = Watching(self)
        self.connections: set[Connection] = set()
        self.requests = 0
        self.draining = False
        self.restart = False
        self.mount_ns = processes.mount_ns()
        self.capturing = asyncio.Lock()
        self.started = time.monotonic()
        self.last_touch = time.monotonic()
        self._stop = asyncio.Event()
        self._recorded = asyncio.Event()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="kache")
        self._preparing: asyncio.Future[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # ---- for connections

    def touched(self) -> None:
        """A frame came: not idle."""
        self.last_touch = time.monotonic()

    def is_done_with(self, build: str) -> bool:
        """Whether a build has ended and all that its compiles left is stored.

        A launcher that has ended may have told of its compile, and nobody has read it yet.
        """
        under_way = (str(each["build"]) for each in self.engine.running())
        return is_over(build) and not self.engine.pending and build not in under_way

    async def in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        """Run blocking work beside the loop."""
        return await self.loop.run_in_executor(self._pool, work, *arguments)

    def prepare(self, build: Build) -> None:
        """A build begins: make ready what its restores may want, beside the loop and one at a time."""
        if self._preparing is None or self._preparing.done():
            self._preparing = self.loop.run_in_executor(self._pool, self.engine.preparation.run, build)

    def keep(self, task: asyncio.Task[None]) -> None:
        """Hold a task until it ends, and log what it died of."""
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def record_ended(self) -> None:
        """Wake the links that wait for a record."""
        self._recorded.set()
        self._recorded = asyncio.Event()

    async def recorded(self, path: bytes, limit_s: float) -> None:
        """Wait until the artifact at a path is no longer being recorded."""
        deadline = time.monotonic() + limit_s
        while path.rpartition(b".")[0] in self.engine.pending:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                self.engine.pending.discard(path.rpartition(b".")[0])
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._recorded.wait(), min(left_s, 1.0))

    async def control(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer the CLI.

        Raises:
            KeyError: the message has no `op`.
        """
        op = message["op"]
        if op == "flush":
            # A launcher that ended has written its DONE: one turn of the loop reads it, in whatever order.
            await asyncio.sleep(0.005)
            while self.engine.pending:
                await asyncio.sleep(0.005)
            await capture.once(self)
            await learn.once(self)
            await self.in_thread(self.engine.flush)
            return {"ok": True}
        if op == "seed":
            announcement = Announcement.from_message(message)
            if announcement.mount_ns != self.mount_ns:
                return {"ok": False, "why": "the daemon sees another filesystem"}
            call = self.engine.announced(announcement)
            if self.engine.config(call).warm_start:
                await warming.bring_units(self, call)
            count = await self.in_thread(lambda: self.engine.seed(call, fills_up=True))
            return {"ok": True, "units": count}
        if op == "prefetch":
            return await self.prefetches.ask(message)
        if op == "stop":
            self.stop()
            return {"ok": True, "pid": os.getpid()}
        if op == "status":
            return self.status()
        return {"error": f"unknown op {op!r}"}

    def status(self) -> dict[str, Any]:
        """What `kache daemon status` shows."""
        return {
            "pid": os.getpid(),
            "version": __version__,
            "uptime_s": round(time.monotonic() - self.started, 3),
            "rss_bytes": _rss_bytes(),
            "requests": self.requests,
            "in_flight": self.engine.in_flight,
            "compiles": self.engine.running(),
            "edit_states": self.engine.edit_states.count,
            "recording_s": round(self.engine.learning.spent_s, 4),
            "socket": str(self.config.socket_path),
            "cache_dir": str(self.cache_dir),
        }

    # ---- life

    def stop(self, *, restart: bool = False) -> None:
        """Take no more calls, finish what is under way, end."""
        self.draining = True
        self.restart = restart
        self._stop.set()

    async def serve(self, listener: socket.socket) -> None:
        """Answer until stopped, then drain."""
        server = await self.loop.create_unix_server(lambda: Connection(self), sock=listener)
        jobs = (flush, store_care, capture, learn, edit_states, idle_exit, self_restart, upload, report)
        services = [self.loop.create_task(job.run(self)) for job in jobs]
        for number in (signal.SIGTERM, signal.SIGINT):
            self.loop.add_signal_handler(number, self.stop)
        await self._stop.wait()
        server.close()
        self.watching.close()
        deadline = time.monotonic() + DRAIN_S
        while (self.engine.in_flight or self._tasks) and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        for service in services:
            service.cancel()
        await self._send_rest(deadline)
        self._pool.shutdown(wait=True)
        self.engine.flush()
        self.engine.close()

    async def _send_rest(self, deadline: float) -> None:
        """Send what waits, as far as time allows; the rest is in the queue for the next daemon."""
        with contextlib.suppress(TimeoutError, StoreError):
            async with asyncio.timeout(max(deadline - time.monotonic(), 1.0)):
                await upload.once(self)
        self.transfers.close()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a task failed", exc_info=task.exception())


def run(config: Config) -> bool:
    """Serve until told to stop.

    Returns:
        True if the daemon should be started anew: its code or configuration changed.

    Raises:
        StoreError: the store or the socket cannot be used.
    """
    lock = _lock(config)
    if lock is None:
        log.info("another daemon serves %s", config.cache_dir)
        return False
    store = LocalStore.open(config.cache_dir)
    listener = _listen(config.socket_path)
    own = config.socket_path.stat().st_ino
    try:
        return _run_loop(config, store, listener)
    finally:
        store.close()
        listener.close()
        with contextlib.suppress(OSError):
            if config.socket_path.stat().st_ino == own:  # else the next daemon's, of a cache dir that was made anew
                config.socket_path.unlink()
        os.close(lock)


def _run_loop(config: Config, store: LocalStore, listener: socket.socket) -> bool:
    import uvloop

    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.set_exception_handler(lambda _, context: log.error("%(message)s", context, exc_info=context.get("exception")))
    try:
        store.watch_writes()
        server = Server(config, store, loop)
        log.info("serving %s on %s as pid %d", config.cache_dir, config.socket_path, os.getpid())
        loop.run_until_complete(server.serve(listener))
        log.info("stopped after %d requests", server.requests)
        return server.restart
    finally:
        loop.close()


def _lock(config: Config) -> int | None:
    """The cache dir's lock; None if another daemon has it and serves, or goes on not serving."""
    try:
        config.cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(config.cache_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CacheDirError(f"cannot use {config.cache_dir}", why=error.strerror or str(error)) from error
    # One that was killed or told to stop keeps the lock a little longer than it answers; so does one that only starts.
    deadline = time.monotonic() + LOCK_LIMIT_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline and not _answers(config.socket_path):
                time.sleep(_LOCK_POLL_S)
                continue
            os.close(fd)
            return None
        return fd


def _listen(path: Path) -> socket.socket:
    """Bind the socket, 0600; a stale one of ours is replaced, anything else stays.

    Raises:
        CacheDirError: the place is taken or unusable.
    """
    try:
        if path.parent == paths.SHARED_TMP / f"kache-{os.getuid()}":  # a name that anybody can guess
            path.parent.mkdir(mode=0o700, exist_ok=True)
            facts = path.parent.lstat()
            if facts.st_uid != os.getuid() or facts.st_mode & 0o077:
                raise CacheDirError(f"{path.parent} is not a private directory of ours")
        else:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if path.exists() and (not stat.S_ISSOCK(path.lstat().st_mode) or _answers(path)):
            raise CacheDirError(
                f"{path} is taken by something else",
                fix="move it away or set KACHE_SOCKET_PATH; builds go on without a daemon",
            )
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        before = os.umask(0o177)
        try:
            listener.bind(os.fsencode(path))
        finally:
            os.umask(before)
        listener.listen(BACKLOG)
        for note in ("failed", "silent"):  # of launchers: that none could be started, that the last one did not answer
            Path(f"{path}.{note}").unlink(missing_ok=True)
    except OSError as error:
        raise CacheDirError(f"cannot listen on {path}", why=error.strerror or str(error)) from error
    return listener


def _answers(path: Path) -> bool:
    probe = socket.socket(socket.AF_UNIX)
    probe.settimeout(1)
    try:
        probe.connect(os.fsencode(path))
    except OSError:
        return False
    finally:
        probe.close()
    return True


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
