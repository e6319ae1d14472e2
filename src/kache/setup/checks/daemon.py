"""The daemon: answering, of this version, for this cache dir."""

from __future__ import annotations

from kache import __version__
from kache.errors import DaemonUnreachableError
from kache.setup.finding import OK, WARN, Finding, Surroundings


def check(around: Surroundings) -> list[Finding]:
    """Ask it; not running is fine, the first compile starts it."""
    config = around.config
    if not config.daemon:
        return [Finding(OK, "switched off by KACHE_DAEMON; each call runs the engine itself")]
    if not config.socket_path.exists():
        return [Finding(OK, "not running; the first compile starts it")]
    from kache.ipc.client import control

    try:
        answer = control(config.socket_path, {"op": "status"})
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


def _start(around: Surroundings) -> str:
    from kache.ipc.lifecycle import start_daemon

    start_daemon(around.env)
    return "the daemon runs"


def _restart(around: Surroundings) -> str:
    from kache.ipc.lifecycle import stop_daemon

    stop_daemon(around.env)
    return _start(around)
