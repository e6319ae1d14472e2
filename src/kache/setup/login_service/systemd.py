"""A unit of systemd's user manager."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from kache.config.paths import home_dir
from kache.errors import SetupFailedError
from kache.setup.login_service import service_variables

UNIT = "kache.service"
_TIMEOUT_S = 60
# No sandboxing (PrivateTmp=, ProtectSystem= …): each would put the daemon into a mount namespace of its own, and it
# serves only callers that see the same files.
_TEMPLATE = """\
[Unit]
Description=kache, a compile cache for Rust

[Service]
Type=exec
ExecStart={launcher} daemon run --service
{variables}
WorkingDirectory=/
UMask=0077
Restart=on-failure
RestartSec=5
TimeoutStopSec=60

[Install]
WantedBy=default.target
"""


class Systemd:
    """See `LoginService`."""

    kind = "systemd"

    def hindrance(self, env: Mapping[str, str]) -> str:
        """No systemctl, or no user manager that answers."""
        if shutil.which("systemctl", path=env.get("PATH")) is None:
            return "there is no systemd here"
        runtime = env.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
        if not Path(runtime, "systemd", "private").exists():
            where = "in a container" if in_container() else "for this login"
            return f"systemd's user manager does not run {where}"
        return ""

    def path(self, env: Mapping[str, str]) -> Path:
        """In the user's configuration."""
        return self._directory(env) / UNIT

    def content(self, launcher: Path, env: Mapping[str, str]) -> bytes:
        """The unit."""
        variables = "\n".join(
            f"Environment={_quoted(f'{name}={value}')}" for name, value in service_variables(env).items()
        )
        return _TEMPLATE.format(launcher=_quoted(str(launcher)), variables=variables).encode()

    def is_enabled(self, env: Mapping[str, str]) -> bool:
        """What `systemctl enable` leaves behind."""
        return os.path.lexists(self._directory(env) / "default.target.wants" / UNIT)

    def directories(self, env: Mapping[str, str]) -> list[Path]:
        """Of the link that `systemctl enable` makes."""
        return [self._directory(env) / "default.target.wants"]

    def enable(self, env: Mapping[str, str]) -> None:
        """Enable and start; a running one gets the new description."""
        _systemctl(env, "daemon-reload")
        _systemctl(env, "enable", UNIT)
        _systemctl(env, "restart", UNIT)

    def start(self, env: Mapping[str, str]) -> None:
        """Start it; one that is starting goes on."""
        _systemctl(env, "start", UNIT)

    def disable(self, env: Mapping[str, str]) -> None:
        """Disable and stop."""
        if self.is_enabled(env) or self.path(env).exists():
            _systemctl(env, "disable", "--now", UNIT)

    def reload(self, env: Mapping[str, str]) -> None:
        """After the unit's file went."""
        _systemctl(env, "daemon-reload")

    def _directory(self, env: Mapping[str, str]) -> Path:
        xdg = env.get("XDG_CONFIG_HOME", "")
        return Path(xdg if xdg.startswith("/") else f"{home_dir(env)}/.config", "systemd", "user")


def in_container() -> bool:
    """Whether this looks like a container."""
    return Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "container" in os.environ


def _systemctl(env: Mapping[str, str], *words: str) -> None:
    what = f"systemctl --user {' '.join(words)}"
    fix = "see systemctl --user status kache, or go without: kache init --no-service"
    try:
        done = subprocess.run(
            ["systemctl", "--user", *words],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SetupFailedError(f"{what} did not run", why=str(error), fix=fix) from error
    if done.returncode:
        raise SetupFailedError(f"{what} failed", why=done.stderr.strip() or f"status {done.returncode}", fix=fix)


def _quoted(text: str) -> str:
    """Source: systemd.service(5), command lines: quotes, backslashes, `%` specifiers and `$` variables."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'
