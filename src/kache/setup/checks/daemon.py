"""The daemon: answering, of this version, for this cache dir."""

from __future__ import annotations

import time

from kache import __version__
from kache.errors import DaemonSilentError, DaemonUnreachableError
from kache.ipc.lifecycle import failed_start, last_error
from kache.reports.render.text import human_duration
from kache.setup.finding import OK, WARN, Finding, Surroundings


def check(around: Surroundings) -> list[Finding]:
    """Ask it; not running is fine, the first compile starts it."""
    config = around.config
    if not config.daemon:
        return [Finding(OK, "switched off by KACHE_DAEMON; each call runs the engine itself")]
    if not config.socket_path.exists():
        return [_not_running(around)]
    from kache.ipc.client import control

    try:
        answer = control(config.socket_path, {"op": "status"})
    except DaemonSilentError as error:
        return [Finding(WARN, error.what, error.why, error.fix)]
    except DaemonUnreachableError as error:
        why = error.why or str(error)
        fix = "kache daemon start"
        return [Finding(WARN, "the socket is there and nobody answers", why, fix, lambda: _start(around))]
    if answer.get("version") != __version__:
        why = f"it is {answer.get('version')}, this is {__version__}; calls run the engine themselves"
        fix = "kache daemon restart"
        return [Finding(WARN, "a daemon of another version runs", why, fix, lambda: _restart(around))]
    if str(answer.get("cache_dir")) != str(config.cache_dir):
        why = f"it serves {answer.get('cache_dir')}, not {config.cache_dir}"
        return [Finding(WARN, "the daemon has another cache dir", why, "kache daemon stop, or mend KACHE_SOCKET_PATH")]
    return [Finding(OK, f"running as pid {answer.get('pid')}")]


def _not_running(around: Surroundings) -> Finding:
    """Fine, unless it was started and could not serve: then nothing but this says so."""
    config = around.config
    failed_at = failed_start(config.socket_path)
    if failed_at is None:
        return Finding(OK, "not running; the first compile starts it")
    reason = last_error(config.cache_dir) or "kache daemon start says why"
    unused = "; the remote and prefetches are silently unused" if config.remote is not None else ""
    ago = human_duration(max(time.time() - failed_at, 0))
    what = f"it could not be started {ago} ago, so each call runs the engine itself{unused}"
    return Finding(WARN, what, reason, "mend that, then kache daemon start", lambda: _start(around))


def _start(around: Surroundings) -> str:
    from kache.setup.login_service.starting import start

    start(around.env)
    return "the daemon runs"


def _restart(around: Surroundings) -> str:
    from kache.ipc.lifecycle import stop_daemon

    stop_daemon(around.env)
    return _start(around)
