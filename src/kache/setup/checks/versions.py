"""The native launcher and this package belong together: one that cannot import its own version caches nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from kache import __version__
from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings

_TIMEOUT_S = 10


def check(around: Surroundings) -> list[Finding]:
    """Find our launcher, ask its version, and see whether PATH leads to it."""
    own = find_launcher()
    on_path = shutil.which("kache", path=around.env.get("PATH"))
    if own is None:
        return [
            Finding(
                WARN,
                f"package {__version__} at {Path(__file__).parents[2]} has no native launcher beside it",
                why="RUSTC_WRAPPER=kache needs the launcher",
                fix="install with pip install, pipx install or uv tool install",
            )
        ]
    findings = [_version(own, around.env)]
    if on_path is None:
        findings.append(
            Finding(WARN, "kache is not on PATH", fix=f"add {own.parent} to PATH or set RUSTC_WRAPPER={own}")
        )
    elif os.path.realpath(on_path) != os.path.realpath(own):
        why = f"RUSTC_WRAPPER=kache uses {on_path}, this is {own}"
        findings.append(Finding(WARN, "another kache comes first on PATH", why, f"put {own.parent} first"))
    return findings


def find_launcher() -> Path | None:
    """The launcher installed for this very interpreter and package."""
    for directory in (sysconfig.get_path("scripts"), str(Path(sys.executable).parent)):
        candidate = Path(directory, "kache")
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    return None


def _version(launcher: Path, env: Mapping[str, str]) -> Finding:
    try:
        run = subprocess.run(
            [launcher, "--version"], env=dict(env), capture_output=True, text=True, timeout=_TIMEOUT_S, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(FAIL, f"{launcher} does not run", why=str(error), fix="install kache again")
    version = (run.stdout.split() or ["?"])[-1]
    if version != __version__:
        why = f"{launcher} is {version}, the Python package is {__version__}: every compile passes through"
        return Finding(FAIL, "launcher and package differ", why, "install kache again")
    return Finding(OK, f"launcher and package are {version} ({launcher})")
