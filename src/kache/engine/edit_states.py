"""Make incremental state of what was edited, while nobody builds, so that already the second edit has it.

A first edit is compiled once more, incrementally, at the lowest priority and with outputs that nobody sees. It is given
up as soon as the unit is edited again. docs/decisions/0014-state-made-in-between.md says why this is worth a compile.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass

from kache.engine.builds import is_compiling
from kache.engine.decisions import Missed
from kache.engine.edits import Edit
from kache.engine.requests import environment_afterwards
from kache.ipc.protocol import Request
from kache.util import processes

MAX_PER_BUILD = 16
"""A build that compiles more units anew is a pull or a change of branch: nobody goes on to edit them all."""
_MAX_BUILDS = 32
_LIMIT_S = 900.0
_NICE = 19
_END_S = 0.2
_LEVELS = 3
"""`incremental`, the profile and the target directory."""

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
        above: the directories it writes below, the innermost first, with their inodes then.
    """

    wanted: Wanted
    process: subprocess.Popen[bytes]
    since: float
    above: tuple[tuple[bytes, int], ...]


class EditStates:
    """What is to be made, by build, and the one compile that makes some.

    `note` may come from any thread, everything else from the daemon's loop.
    """

    def __init__(self) -> None:
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
        if running is not None and _end_group(running.process):
            shutil.rmtree(running.wanted.edit.out, ignore_errors=True)

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
        try:
            os.makedirs(edit.out)  # fails if there is anything: what it is used for is not known
            process = processes.start(
                edit.incremental_argv(wanted.missed),
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
            with contextlib.suppress(OSError):
                os.rmdir(edit.out)
            return
        self._running = _Running(wanted, process, time.monotonic(), _directories_above(edit))
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)

    def _ended(self, running: _Running, *, is_gone: bool) -> None:
        edit, call, status = running.wanted.edit, running.wanted.missed.call, running.process.returncode
        log.debug("incremental state of %s: %s", call.crate_name, status)
        if is_gone:
            shutil.rmtree(edit.out, ignore_errors=True)
        if not os.path.isdir(
            call.out_dir
        ):  # the target directory was deleted meanwhile, and rustc made parts of it again
            shutil.rmtree(edit.state, ignore_errors=True)
            _remove_empty(running.above)
        elif status:
            # What is left may be half of something; the next edit makes state as if this had never been.
            shutil.rmtree(edit.state, ignore_errors=True)
            with contextlib.suppress(OSError):
                os.mkdir(edit.state)


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


def _directories_above(edit: Edit) -> tuple[tuple[bytes, int], ...]:
    """Those above state and out dir, up to the target directory."""
    directories = [os.path.dirname(edit.out), os.path.dirname(edit.state)]
    for _ in range(_LEVELS):
        directories.append(os.path.dirname(directories[-1]))
    return tuple((directory, _inode(directory)) for directory in directories)


def _remove_empty(above: Iterable[tuple[bytes, int]]) -> None:
    """Remove what was deleted and has been made again; a directory that is still the same one is somebody's."""
    for directory, before in above:
        if before and _inode(directory) == before:
            continue
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _inode(directory: bytes) -> int:
    try:
        return os.stat(directory).st_ino
    except OSError:
        return 0
