"""A launchd agent, on macOS. Written by its manual (launchd.plist(5)), and not tried on a Mac yet."""

from __future__ import annotations

import os
import plistlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from kache.config.paths import home_dir
from kache.errors import SetupFailedError
from kache.setup.login_service import service_variables

LABEL = "dev.kache.daemon"
_TIMEOUT_S = 60


class Launchd:
    """See `LoginService`."""

    kind = "launchd"

    def hindrance(self, env: Mapping[str, str]) -> str:
        """No launchctl."""
        return "" if shutil.which("launchctl", path=env.get("PATH")) else "there is no launchd here"

    def path(self, env: Mapping[str, str]) -> Path:
        """Where launchd looks for a user's agents."""
        return Path(home_dir(env), "Library", "LaunchAgents", f"{LABEL}.plist")

    def content(self, launcher: Path, env: Mapping[str, str]) -> bytes:
        """The agent."""
        return plistlib.dumps(
            {
                "Label": LABEL,
                "ProgramArguments": [str(launcher), "daemon", "run", "--service"],
                "EnvironmentVariables": service_variables(env),
                "RunAtLoad": True,
                "KeepAlive": {"SuccessfulExit": False},
                "ProcessType": "Interactive",  # or macOS slows it down in the background, and compiles wait for it
                "Umask": 0o077,
                "WorkingDirectory": "/",
            },
            sort_keys=False,
        )

    def is_enabled(self, env: Mapping[str, str]) -> bool:
        """An agent starts at login as soon as its file is there."""
        return self.path(env).exists()

    def directories(self, env: Mapping[str, str]) -> list[Path]:
        """None but the file's own."""
        return []

    def enable(self, env: Mapping[str, str]) -> None:
        """Load it, in place of the one that may be loaded."""
        _launchctl("bootout", f"{_domain()}/{LABEL}", may_fail=True)
        _launchctl("bootstrap", _domain(), str(self.path(env)))

    def start(self, env: Mapping[str, str]) -> None:
        """Start it; one that is starting goes on."""
        _launchctl("kickstart", f"{_domain()}/{LABEL}")

    def disable(self, env: Mapping[str, str]) -> None:
        """Unload it."""
        _launchctl("bootout", f"{_domain()}/{LABEL}", may_fail=True)

    def reload(self, env: Mapping[str, str]) -> None:
        """Nothing to do: launchd keeps no list of files."""


def _domain() -> str:
    return f"gui/{os.getuid()}"


def _launchctl(*words: str, may_fail: bool = False) -> None:
    what = f"launchctl {' '.join(words)}"
    try:
        done = subprocess.run(
            ["launchctl", *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise SetupFailedError(f"{what} did not run", why=str(error)) from error
    if done.returncode and not may_fail:
        why = done.stderr.decode(errors="replace").strip() or f"status {done.returncode}"
        raise SetupFailedError(f"{what} failed", why=why, fix="go without: kache init --no-service")
