"""A service that has the daemon running from login on: systemd's user manager on Linux, launchd on macOS."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from kache.errors import SetupFailedError

__all__ = ["LoginService", "find", "in_charge", "service_variables"]


class LoginService(Protocol):
    """One kind of service manager.

    Attributes:
        kind: its name, for people and for the record.
    """

    kind: str

    def hindrance(self, env: Mapping[str, str]) -> str:
        """Why there can be no service here; empty if there can."""

    def path(self, env: Mapping[str, str]) -> Path:
        """Where its description lies."""

    def content(self, launcher: Path, env: Mapping[str, str]) -> bytes:
        """The description."""

    def is_enabled(self, env: Mapping[str, str]) -> bool:
        """Whether it starts at login."""

    def directories(self, env: Mapping[str, str]) -> list[Path]:
        """Directories that enabling it makes, beside the description's."""

    def enable(self, env: Mapping[str, str]) -> None:
        """Start it, now and at each login.

        Raises:
            SetupFailedError: the manager refused.
        """

    def start(self, env: Mapping[str, str]) -> None:
        """Start it now; one that runs stays.

        Raises:
            SetupFailedError: the manager refused.
        """

    def disable(self, env: Mapping[str, str]) -> None:
        """Stop it, now and for good; one that is not there is fine."""

    def reload(self, env: Mapping[str, str]) -> None:
        """Have the manager see that the description is gone."""


def find(kind: str = "") -> LoginService:
    """The service manager of this platform, or the one of a record.

    Raises:
        SetupFailedError: kache knows none.
    """
    from kache.setup.login_service import launchd, systemd

    known: dict[str, LoginService] = {"systemd": systemd.Systemd(), "launchd": launchd.Launchd()}
    wanted = kind or ("launchd" if sys.platform == "darwin" else "systemd")
    try:
        return known[wanted]
    except KeyError:
        raise SetupFailedError(f"kache knows no login service of the kind {wanted!r}") from None


def in_charge(env: Mapping[str, str]) -> LoginService | None:
    """The manager that has our service and can be asked; it, and nobody else, is to start the daemon then."""
    try:
        manager = find()
    except SetupFailedError:
        return None
    has_it = manager.path(env).is_file() and manager.is_enabled(env) and not manager.hindrance(env)
    return manager if has_it else None


def service_variables(env: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment the service needs: a login has none of a shell's variables.

    The places only, or the daemon would serve another cache dir than the launcher asks for. It has no idle timeout:
    the service manager, not the next compile, is what keeps it there.
    """
    places = ("KACHE_CACHE_DIR", "KACHE_SOCKET_PATH", "KACHE_CONFIG", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    kept = {name: env[name] for name in places if env.get(name) and os.path.isabs(env[name])}
    return {**kept, "KACHE_DAEMON_IDLE_TIMEOUT": "0"}
