"""`kache daemon status|start|stop|restart|run|log|install|uninstall`."""

from __future__ import annotations

import argparse
import os
import time
from collections import deque
from pathlib import Path
from typing import Any

from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples, option, refuse_flags_of_others
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.config.values import parse_count
from kache.errors import CancelledError, DaemonSilentError, DaemonUnreachableError, SetupBlockedError, UsageError
from kache.reports.render.text import human_bytes, human_duration

DESCRIPTION = (
    "Look at, start or stop the background process that answers compiles.\n"
    "The first compile starts it; without it the same engine runs inside each call.\n\n"
    "  status     say whether it runs (exit code 1 if not)\n"
    "  start      start it and wait until it answers\n"
    "  stop       let it finish its work and exit\n"
    "  restart    stop and start\n"
    "  run        run it in the foreground, until Ctrl-C\n"
    "  log        print the end of its log\n"
    "  install    have systemd or launchd start it, now and at login\n"
    "  uninstall  take that back"
)
EXAMPLES: Examples = (
    ("kache daemon status", "is it running, with how much memory"),
    ("kache daemon restart", "after a change of environment"),
    ("kache daemon log --lines 200", "what it said"),
    ("kache daemon log --follow", "what it says while a build runs"),
    ("kache daemon install", "started at login, without an idle timeout"),
)
_ANSWERS_WITHIN_S = 5.0
ACTIONS = ("status", "start", "stop", "restart", "run", "log", "install", "uninstall")
LOG_NAME = "daemon.log"
LINES = 50
FOLLOW_INTERVAL_S = 0.25


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("--lines", metavar="N", type=option(parse_count), help="log: how many lines (default: 50)")
    parser.add_argument("--follow", action="store_true", help="log: go on as it grows, until Ctrl-C")
    parser.add_argument(
        "--service", action="store_true", help="run: as a service manager runs it, with its log in the file"
    )


def run(args: argparse.Namespace, session: Session) -> Result:
    """Do the action."""
    session.warn_of_config_problems()
    given = {
        "--lines": (args.lines is not None, ("log",)),
        "--follow": (args.follow, ("log",)),
        "--service": (args.service, ("run",)),
    }
    refuse_flags_of_others("kache daemon", args.action, given)
    if args.action == "log":
        if args.follow and session.as_json:
            raise UsageError("--follow and --json contradict each other", fix="leave one of them out")
        return _log(session, args.lines or LINES, follow=args.follow)
    if args.action == "run":
        return _run_in_foreground(session, as_service=args.service)
    if args.action in ("install", "uninstall"):
        return _service(session, args.action)
    if args.action in ("stop", "restart"):
        with Progress("waiting until it has ended", session):
            was_running = _stop(session)
        if args.action == "stop":
            text = "stopped" if was_running else "not running"
            return Result({"running": False, "was_running": was_running}, text, command="daemon stop")
    if args.action in ("start", "restart"):
        from kache.setup.login_service.starting import start

        with Progress("waiting until it answers", session):
            start(session.env)
    return _status(session, args.action)


def _service(session: Session, action: str) -> Result:
    from kache.setup import login_service
    from kache.setup.init import plan, service
    from kache.setup.init.cargo_wrapper import launcher_to_name
    from kache.setup.init.record import Record
    from kache.setup.init.step import State, Wishes

    wishes = Wishes(session.env, session.cwd, session.config, launcher_to_name(session.env))
    command = f"daemon {action}"
    if action == "uninstall":
        removed = plan.take_service_back(Record.load(session.env), wishes)
        text = "the login service is gone" if removed else "kache has installed no login service"
        return Result({"installed": False, "changed": removed}, text, command=command)
    manager = login_service.find()
    hindrance = manager.hindrance(session.env) or ("" if wishes.launcher else "there is no launcher to start")
    if hindrance:
        fix = "nothing is needed: the first compile starts the daemon"
        raise SetupBlockedError("there can be no login service here", why=hindrance, fix=fix)
    step = service.install(manager, wishes)
    if step.state is State.SKIP:
        raise SetupBlockedError(step.what, why=step.why)
    if step.state is State.CHANGE:
        plan.apply((step,), wishes)
    text = f"{manager.kind} starts the daemon at login ({manager.path(session.env)})"
    return Result({"installed": True, "changed": step.state is State.CHANGE}, text, command=command)


def _ask(session: Session) -> dict[str, Any] | None:
    from kache.ipc.client import control

    try:
        return dict(control(session.config.socket_path, {"op": "status"}, timeout_s=_ANSWERS_WITHIN_S))
    except DaemonSilentError:  # it runs: "not running" would be wrong
        raise
    except DaemonUnreachableError:
        return None


def _status(session: Session, action: str) -> Result:
    answer = _ask(session)
    command = f"daemon {action}"
    if answer is None:
        if action != "status":
            raise DaemonUnreachableError(
                "the daemon was started and does not answer",
                why=f"nothing listens on {session.config.socket_path}",
                fix="see kache daemon log, and kache doctor",
            )
        data = {"running": False, "socket": str(session.config.socket_path)}
        return Result(data, "not running; the first compile starts it", exit_code=1, command=command)
    text = (
        f"running: pid {answer.get('pid')}, kache {answer.get('version')}, "
        f"up {human_duration(answer.get('uptime_s', 0))}, {human_bytes(answer.get('rss_bytes', 0))} of memory\n"
        f"requests: {answer.get('requests', 0)}, {answer.get('in_flight', 0)} in flight\n"
        f"socket: {answer.get('socket')}\ncache dir: {answer.get('cache_dir')}"
    )
    return Result({"running": True, **answer}, text, command=command)


def _stop(session: Session) -> bool:
    if _ask(session) is None:
        return False
    from kache.ipc.lifecycle import stop_daemon

    stop_daemon(session.env)
    return True


def _run_in_foreground(session: Session, *, as_service: bool) -> Result:
    if as_service:
        from kache.daemon.__main__ import main

        return Result({}, exit_code=main([]), command="daemon run")
    from kache.daemon import server

    running = _ask(session)
    if running is not None:
        fix = "kache daemon stop, then kache daemon run"
        raise UsageError(f"a daemon runs already, as pid {running['pid']}", fix=fix)
    say(f"serving {session.config.cache_dir} on {session.config.socket_path}; Ctrl-C ends it")
    server.run(session.config)
    return Result({}, command="daemon run")


def _log(session: Session, count: int, *, follow: bool) -> Result:
    path = session.config.cache_dir / LOG_NAME
    lines, end = _tail(path, count)
    if not follow:
        text = "\n".join(lines) if lines else f"{path} is empty or absent"
        return Result({"path": str(path), "lines": lines}, text, command="daemon log", pages=True)
    try:
        for line in lines:
            print(line, flush=True)
        while True:
            time.sleep(FOLLOW_INTERVAL_S)
            end = _print_new(path, end)
    except KeyboardInterrupt:  # the way this ends
        return Result({}, exit_code=CancelledError.exit_code, command="daemon log")


def _tail(path: Path, count: int) -> tuple[list[str], int]:
    try:
        with path.open("rb") as file:
            kept = deque(file, maxlen=max(count, 0))
            return [line.decode(errors="replace").rstrip("\n") for line in kept], file.tell()
    except FileNotFoundError:
        return [], 0


def _print_new(path: Path, end: int) -> int:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size < end:  # rotated or truncated
                end = 0
            file.seek(end)
            fresh = file.read()
    except FileNotFoundError:
        return 0
    if fresh:
        print(fresh.decode(errors="replace"), end="", flush=True)
    return end + len(fresh)
