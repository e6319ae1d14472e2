"""The daemon started by whoever is in charge of it: one beside a service's would not come again when it dies."""

from __future__ import annotations

from collections.abc import Mapping

from kache.config.paths import socket_path
from kache.errors import DaemonUnreachableError
from kache.ipc.client import control
from kache.ipc.lifecycle import start_daemon, wait_for_daemon
from kache.setup import login_service
from kache.setup.init.cargo_wrapper import launcher_to_name
from kache.setup.login_service import LoginService

_PATIENCE_S = 5.0


def start(env: Mapping[str, str]) -> None:
    """Have the daemon running, and wait until it answers; one that runs already is fine.

    Raises:
        DaemonUnreachableError: it ended, or does not answer.
        SetupFailedError: the service's manager refused.
    """
    manager = login_service.in_charge(env)
    if manager is None or not _serves_here(manager, env):
        start_daemon(env)
    elif not _runs(env):
        manager.start(env)
        try:
            wait_for_daemon(env, _PATIENCE_S)
        except DaemonUnreachableError:  # one beside the service is better than none
            start_daemon(env)


def _serves_here(manager: LoginService, env: Mapping[str, str]) -> bool:
    """Whether its service is about this cache dir: it may be of another one than this shell's."""
    launcher = launcher_to_name(env)
    return launcher is not None and manager.path(env).read_bytes() == manager.content(launcher, env)


def _runs(env: Mapping[str, str]) -> bool:
    try:
        control(socket_path(env), {"op": "status"})
    except DaemonUnreachableError:
        return False
    return True
