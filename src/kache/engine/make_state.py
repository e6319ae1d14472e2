"""`python -m kache.engine.make_state`: incremental state for a unit that was edited for the first time.

The first edit is compiled without state, which is quicker and can be stored; the second one wants the state that the
first would have left. This makes it meanwhile, while the machine has nothing else to do. The launcher of that compile
starts it, detached, so it has the caller's environment and sandbox; whatever goes wrong, the second edit makes its own.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from kache.engine.builds import is_compiling
from kache.util.locking import locked

PLACE = "incremental"
"""Below the cache dir: a target directory may be removed at any moment, and nothing may come to be in it meanwhile."""
MAX_WAITING = 8
"""A pull can touch a hundred units, and nobody edits as many."""
LIMIT_S = 1800
_POLL_S = 0.1
_JOBSERVER = ("CARGO_MAKEFLAGS", "MAKEFLAGS", "MFLAGS")


def main(argv: Sequence[str]) -> int:
    """Take `CACHE_DIR BUILD_ID UMASK STATE RUSTC ARGS...`: the argv of an incremental compile with state in STATE."""
    place, build_id, state, compile_ = Path(argv[0], PLACE), argv[1], Path(argv[3]), argv[4:]
    _give_way()
    with contextlib.suppress(OSError):
        if state.parent.parent.is_dir():  # the engine makes it, too, and may be busy recording
            state.mkdir(parents=True, exist_ok=True)
    place.mkdir(mode=0o700, exist_ok=True)
    with _slot(place) as has_slot:
        if not has_slot:
            return 1
        os.umask(int(argv[2], 8))
        _wait_for_quiet(build_id)
        with locked(place / "lock"):
            work = place / "work"
            shutil.rmtree(work, ignore_errors=True)  # of one that was killed
            try:
                return 0 if _is_wanted(state) and _compile(compile_, work, state) and _hand_over(work, state) else 1
            finally:
                shutil.rmtree(work, ignore_errors=True)


def _give_way() -> None:
    """Take only what others leave of the machine.

    Where Linux groups tasks by session (sched(7), autogroup), a task's own priority counts among its group alone, and
    ours, a session of its own, got half of the machine (a build beside it took 5.5 s for 3.3 s; 2 cores, Linux 6.18).
    """
    with contextlib.suppress(OSError):
        os.nice(19)
        if os.getsid(0) == os.getpid():
            Path("/proc/self/autogroup").write_text("19")
    with contextlib.suppress(OSError, AttributeError):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def _wait_for_quiet(build_id: str) -> None:
    """Wait until cargo has nothing left to compile: twice in a row, as units follow each other."""
    quiet, deadline = 0, time.monotonic() + LIMIT_S
    while quiet < 2 and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        quiet = 0 if is_compiling(build_id) else quiet + 1


@contextlib.contextmanager
def _slot(place: Path) -> Iterator[bool]:
    """One of the places in the queue, if there is one."""
    for number in range(MAX_WAITING):
        with open(place / f"waiting-{number}", "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield True
            return
    yield False


def _is_wanted(state: Path) -> bool:
    """Whether the next edit has neither come nor been given up."""
    try:
        return not any(state.iterdir())
    except OSError:
        return False


def _compile(argv: Sequence[str], work: Path, state: Path) -> bool:
    """Compile into a directory of our own, until the next edit comes."""
    out, own_state = work / "out", work / "state"
    out.mkdir(parents=True)
    words = [str(out) if before == "--out-dir" else word for before, word in zip(("", *argv), argv, strict=False)]
    words = [f"--out-dir={out}" if word.startswith("--out-dir=") else word for word in words]
    words[-1] = f"incremental={own_state}"
    env = {name: value for name, value in os.environ.items() if name not in _JOBSERVER}
    nothing = subprocess.DEVNULL
    with subprocess.Popen(words, env=env, stdin=nothing, stdout=nothing, stderr=nothing, process_group=0) as rustc:
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                return rustc.wait(_POLL_S) == 0
            except subprocess.TimeoutExpired:
                if not _is_wanted(state) or time.monotonic() > deadline:
                    os.killpg(rustc.pid, signal.SIGKILL)


def _hand_over(work: Path, state: Path) -> bool:
    """Put the state in place of the empty directory: as a whole, or not at all."""
    try:
        try:
            os.rename(work / "state", state)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            near = state.with_name(state.name + ".new")
            shutil.copytree(work / "state", near, dirs_exist_ok=True)
            os.rename(near, state)
    except OSError:  # the next edit has come, or the target directory is gone
        return False
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
