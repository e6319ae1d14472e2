"""A real user manager of systemd, in a mount namespace and a control group of its own.

Where the machine was not booted by systemd the manager wants a /run/systemd/system, which it gets privately. Commands
run in the same namespace: a daemon serves only callers that see the same files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support import processes

_PROGRAM = Path("/usr/lib/systemd/systemd")
_START = """\
set -e
mkdir -p /run/systemd
mount -t tmpfs tmpfs /run/systemd
mkdir /run/systemd/system
for group in "$@"; do mkdir -p "$group" && echo $$ >"$group/cgroup.procs"; done
exec {program} --user --log-target=console
"""


class UserManager:
    """See above.

    Args:
        env: of the user; XDG_RUNTIME_DIR is made.
        log: file for what it says.
    """

    def __init__(self, env: Mapping[str, str], log: Path) -> None:
        if os.geteuid() != 0 or not _PROGRAM.exists() or shutil.which("unshare") is None:
            pytest.skip("needs root, systemd and unshare")
        self.env = dict(env)
        self._groups = [each / f"kache-test-{os.getpid()}" for each in _hierarchies()]
        runtime = Path(env["XDG_RUNTIME_DIR"])
        runtime.mkdir(mode=0o700, exist_ok=True)
        words = ["unshare", "-m", "sh", "-c", _START.format(program=_PROGRAM), "sh", *map(str, self._groups)]
        with log.open("wb") as said:
            self._process = subprocess.Popen(words, env=self.env, stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        try:
            processes.until(self._is_ready, limit_s=30, what="the user manager answers")
        except (RuntimeError, AssertionError, TimeoutError):
            self.end()
            pytest.skip(f"no user manager can run here: {log.read_text()[-300:]}")

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """A command of this user, in the manager's namespace."""
        inside = ["nsenter", "-m", "-t", str(self._process.pid), f"-w{cwd}", *words]
        return subprocess.run(
            inside, env=self.env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )

    def facts(self, unit: str) -> dict[str, str]:
        """What `systemctl show` says of a unit."""
        shown = self._systemctl("show", "-p", "MainPID,ActiveState,UnitFileState,NRestarts", unit).stdout
        return dict(line.split("=", 1) for line in shown.splitlines())

    def end(self) -> None:
        """Stop it and all its units."""
        self._process.terminate()
        self._process.wait(30)
        for group in self._groups:
            for directory, _, _ in os.walk(group, topdown=False):
                Path(directory).rmdir()

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            raise RuntimeError("it ended")
        return self._systemctl("is-active", "default.target").stdout.strip() == "active"

    def _systemctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["systemctl", "--user", *words], env=self.env, capture_output=True, text=True, check=False
        )


def _hierarchies() -> list[Path]:
    """Where control groups of systemd's are: beside each other in a hybrid setup, else one."""
    top = Path("/sys/fs/cgroup")
    return [each for each in (top / "systemd", top / "unified") if each.is_dir()] or [top]
