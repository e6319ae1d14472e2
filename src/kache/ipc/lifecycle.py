"""Start and stop the daemon from the command line; the launcher starts it by itself in the same way."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kache import __version__
from kache.config.paths import cache_dir, socket_path
from kache.errors import DaemonSilentError, DaemonUnreachableError
from kache.ipc.client import control

START_LIMIT_S = 10.0
STOP_LIMIT_S = 30.0
EXIT_OTHER_VERSION = 86
"""Exit status of `kache.daemon` and `kache.wrapper` when the launcher is of another version."""

LOG_NAME = "daemon.log"
_LOG_END_BYTES = 65_536
_ERROR = " ERROR "
_POLL_S = 0.01
_ASK_TIMEOUT_S = 2.0
_PATIENCE_S = 10.0
# What the daemon keeps of the environment; the launcher has the same list (native/launcher/src/python.rs).
_KEPT = frozenset({"HOME", "USER", "LOGNAME", "PATH", "LANG", "RUSTUP_HOME", "CARGO_HOME"})
_KEPT_PREFIXES = ("LC_", "XDG_", "KACHE_", "AWS_", "SSL_CERT_")
_KEPT_SUFFIXES = ("_PROXY", "_proxy")


def start_daemon(env: Mapping[str, str]) -> None:
    """Start the daemon and wait until it answers; one that runs already is fine.

    Args:
        env: the caller's environment; the daemon gets the variables it needs of it.

    Raises:
        DaemonUnreachableError: it ended, or did not answer within `START_LIMIT_S`.
    """
    place = socket_path(env)
    # A second one would find the cache dir taken and end; but one still starting when the first is stopped takes over.
    try:
        control(place, {"op": "status"}, timeout_s=_PATIENCE_S)
    except DaemonSilentError:
        raise
    except DaemonUnreachableError:
        pass
    else:
        return
    process = subprocess.Popen(
        [sys.executable, "-I", "-m", "kache.daemon", "--launcher-version", __version__],
        env=daemon_environment(env),
        cwd="/",
        umask=0o077,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if _ask(place) is not None:
            process.returncode = process.poll() or 0  # it outlives us: no "still running" warning when collected
            return
        # Status 0: another one has the cache dir, and is about to answer.
        if process.poll():
            raise DaemonUnreachableError("the daemon did not start", why=_why(process.returncode, env), fix=_FIX)
        time.sleep(_POLL_S)
    process.returncode = process.poll() or 0
    raise _silent(place)


def wait_for_daemon(env: Mapping[str, str], limit_s: float = START_LIMIT_S) -> None:
    """Wait until one that somebody else starts answers.

    Raises:
        DaemonUnreachableError: it did not within `limit_s`.
    """
    place = socket_path(env)
    deadline = time.monotonic() + limit_s
    while _ask(place) is None:
        if time.monotonic() > deadline:
            raise _silent(place)
        time.sleep(_POLL_S)


def _silent(place: Path) -> DaemonUnreachableError:
    try:
        control(place, {"op": "status"}, timeout_s=_ASK_TIMEOUT_S)
    except DaemonSilentError as error:
        return error
    except DaemonUnreachableError:
        pass
    why = f"nothing on {place} after {START_LIMIT_S:.0f} s"
    return DaemonUnreachableError("the daemon was started and does not answer", why=why, fix=_FIX)


def stop_daemon(env: Mapping[str, str]) -> None:
    """Have the daemon finish its work and exit, and wait for that.

    Raises:
        DaemonUnreachableError: none answers, or it still runs after `STOP_LIMIT_S`.
    """
    place = socket_path(env)
    status = control(place, {"op": "status"})
    control(place, {"op": "stop"})
    pid = int(status.get("pid", 0))
    deadline = time.monotonic() + STOP_LIMIT_S
    while time.monotonic() < deadline:
        if not (_runs(pid) if pid else place.exists()):
            return
        time.sleep(_POLL_S)
    raise DaemonUnreachableError(
        f"the daemon (pid {pid}) still runs {STOP_LIMIT_S:.0f} s after it was told to stop",
        fix="see kache daemon log; kill the pid if it hangs",
    )


def daemon_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The variables the daemon keeps: nothing of one build or one shell may stay in it."""
    return {
        name: value
        for name, value in env.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES) or name.endswith(_KEPT_SUFFIXES)
    }


_FIX = "see kache daemon log, and kache doctor; builds go on without it"


def _why(exit_code: int, env: Mapping[str, str]) -> str:
    if exit_code == EXIT_OTHER_VERSION:
        return f"{sys.executable} has a kache of another version than {__version__}"
    return last_error(cache_dir(env)) or f"it ended with status {exit_code}"


def last_error(directory: Path) -> str:
    """What the newest error in the daemon's log says; empty if there is none near its end."""
    try:
        with (directory / LOG_NAME).open("rb") as file:
            file.seek(max(os.fstat(file.fileno()).st_size - _LOG_END_BYTES, 0))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.partition(_ERROR)[2] for line in reversed(lines) if _ERROR in line), "")


def failed_start(place: Path) -> float | None:
    """When a launcher last failed to start a daemon here, seconds since the Unix epoch; None if it never did.

    Source: docs/explanation/protocol.md, "Starting the daemon".
    """
    try:
        return Path(f"{place}.failed").lstat().st_mtime
    except OSError:
        return None


def _ask(place: Path) -> dict[str, Any] | None:
    try:
        return control(place, {"op": "status"}, timeout_s=_ASK_TIMEOUT_S)
    except DaemonUnreachableError:
        return None


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0]
    except (OSError, IndexError):
        return not sys.platform.startswith("linux")
    return state not in (b"Z", b"X")  # ended, and only its parent has not looked
