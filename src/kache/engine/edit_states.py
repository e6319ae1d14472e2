"""Make incremental state of what was edited, while nobody builds, so that already the second edit has it.

A first edit is compiled once more, incrementally, at the lowest priority and with outputs that nobody sees. It is given
up as soon as the unit is edited again. docs/decisions/0014-state-made-in-between.md says why this is worth a compile.

All that compile writes is below the cache dir, and the finished state moves into the target directory at once: whoever
deletes or moves that directory meanwhile finds nothing coming to life in it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from kache.engine.builds import is_compiling
from kache.engine.decisions import Missed
from kache.engine.edits import SCRATCH, Edit
from kache.engine.requests import environment_afterwards
from kache.ipc.protocol import Request
from kache.util import processes

MAX_PER_BUILD = 16
"""A build that compiles more units anew is a pull or a change of branch: nobody goes on to edit them all."""
_MAX_BUILDS = 32
_LIMIT_S = 900.0
_NICE = 19
_END_S = 0.2
_OUT, _STATE = b"/out", b"/state"

log = logging.getLogger("kache")


@dataclass(frozen=True, slots=True)
class Wanted:
    """State to be made: of an edit that was compiled without."""

    edit: Edit
    missed: Missed
    request: Request


@dataclass(frozen=True, slots=True)
class _Running:
    """The compile under way.

    Attributes:
        wanted: what it makes.
        process: rustc, first of a process group of its own.
        since: when it began, on the monotonic clock.
        scratch: the directory it writes to.
        inode: of the directory for the unit's state.
    """

    wanted: Wanted
    process: subprocess.Popen[bytes]
    since: float
    scratch: bytes
    inode: int


class EditStates:
    """What is to be made, by build, and the one compile that makes some.

    `note` may come from any thread, everything else from the daemon's loop.

    Args:
        cache_dir: where compiles write until they are done.
    """

    def __init__(self, cache_dir: Path) -> None:
        self._scratch = os.fsencode(cache_dir / SCRATCH)
        self._numbers = itertools.count()
        self._builds: dict[str, dict[bytes, Wanted]] = {}
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def note(self, build: str, wanted: Wanted) -> None:
        """A first edit was compiled."""
        call = wanted.missed.call
        # Names of outputs get into these in other ways than through the file names rustc announces.
        if call.split_debuginfo not in (None, "off") or "rpath" in call.codegen:
            return
        with self._lock:
            if build not in self._builds and len(self._builds) >= _MAX_BUILDS:
                del self._builds[next(iter(self._builds))]
            self._builds.setdefault(build, {})[wanted.edit.state] = wanted

    @property
    def count(self) -> int:
        """States to be made, the one under way among them."""
        with self._lock:
            return sum(len(units) for units in self._builds.values()) + (self._running is not None)

    def step(self, *, may_begin: bool) -> None:
        """Look after the compile under way; without one begin the next, if its build has ended."""
        running = self._running
        if running is not None:
            if running.process.poll() is not None:
                self._running = None
                # Of a rustc that was killed the linker may live on, and write where its name leads.
                self._ended(running, is_gone=_end_group(running.process))
            elif time.monotonic() - running.since > _LIMIT_S:
                self.stop()
            return
        following = self._next() if may_begin else None
        if following is not None:
            self._begin(following)

    def give_up(self, state: bytes) -> None:
        """The unit is edited again: its compile goes first."""
        with self._lock:
            for units in self._builds.values():
                units.pop(state, None)
        if self._running is not None and self._running.wanted.edit.state == state:
            self.stop()

    def stop(self) -> None:
        """End the compile under way."""
        running, self._running = self._running, None
        if running is not None:
            _clear(running, is_gone=_end_group(running.process))

    def _next(self) -> Wanted | None:
        with self._lock:
            builds = list(self._builds)
        for build in builds:
            if is_compiling(build):
                continue
            with self._lock:
                units = self._builds.get(build)
                if units is not None and len(units) > MAX_PER_BUILD:
                    log.debug("build %s compiled %d units anew: no state is made", build, len(units))
                    units.clear()
                if not units:
                    self._builds.pop(build, None)
                    continue
                return units.pop(next(iter(units)))
        return None

    def _begin(self, wanted: Wanted) -> None:
        edit, request = wanted.edit, wanted.request
        _sweep(self._scratch)
        scratch = b"%b/%d-%d" % (self._scratch, os.getpid(), next(self._numbers))
        try:
            inode = os.stat(edit.state).st_ino  # before anything is made: a target directory that is gone stays away
            os.makedirs(scratch + _OUT)
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.dirname(edit.out))
            os.symlink(scratch + _OUT, edit.out)  # fails if there is anything: what it is used for is not known
            process = processes.start(
                replace(edit, state=scratch + _STATE).incremental_argv(wanted.missed),
                cwd=request.cwd,
                env=environment_afterwards(request),
                umask=request.umask,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            log.info("cannot make incremental state of %s: %s", wanted.missed.call.crate_name, error)
            _unlink(edit.out, scratch)
            shutil.rmtree(scratch, ignore_errors=True)
            return
        self._running = _Running(wanted, process, time.monotonic(), scratch, inode)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)

    def _ended(self, running: _Running, *, is_gone: bool) -> None:
        edit, status = running.wanted.edit, running.process.returncode
        log.debug("incremental state of %s: %s", running.wanted.missed.call.crate_name, status)
        if status == 0:  # else it may be half of something, and the next edit makes state as if this had never been
            try:
                _move_in(running.scratch + _STATE, edit.state, running.inode)
            except OSError as error:
                log.info("cannot keep incremental state %s: %s", os.fsdecode(edit.state), error)
        _clear(running, is_gone=is_gone)


def _move_in(made: bytes, state: bytes, inode: int) -> None:
    """Put finished state into the empty directory that waits for it.

    Raises:
        OSError: it is not there any more, or not empty.
    """
    if os.stat(state).st_ino != inode:
        raise FileNotFoundError(errno.ENOENT, "the target directory was deleted meanwhile")
    try:
        os.rename(made, state)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        copy = state + b".new"
        try:
            shutil.copytree(os.fsdecode(made), os.fsdecode(copy))
            os.rename(copy, state)
        except shutil.Error as several:
            raise OSError(errno.EIO, str(several)) from several
        finally:
            shutil.rmtree(copy, ignore_errors=True)


def _clear(running: _Running, *, is_gone: bool) -> None:
    """Remove what a compile wrote, and the link that leads there.

    The link of a process that may live on stays: whatever got its name would be written to.
    """
    if is_gone:
        _unlink(running.wanted.edit.out, running.scratch)
    shutil.rmtree(running.scratch, ignore_errors=True)


def _unlink(out: bytes, scratch: bytes) -> None:
    with contextlib.suppress(OSError):
        if os.readlink(out) == scratch + _OUT:
            os.unlink(out)


def _sweep(directory: bytes) -> None:
    """Remove what a daemon that was killed has left: one serves a cache dir."""
    with contextlib.suppress(OSError):
        for name in os.listdir(directory):
            if not name.startswith(b"%d-" % os.getpid()):
                shutil.rmtree(directory + b"/" + name, ignore_errors=True)


def _end_group(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process with all that it started; whether all of them are known to be gone."""
    deadline = time.monotonic() + _END_S
    try:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.001)
    except ProcessLookupError:
        process.wait()
        return True
    except OSError as error:  # one of them is another user's
        log.info("cannot end process group %d: %s", process.pid, error)
    return False
