"""A Rust toolchain is found, and new enough."""

from __future__ import annotations

import shutil
import subprocess

from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings

_TIMEOUT_S = 30
OLDEST_MINOR = 63


def check(around: Surroundings) -> list[Finding]:
    """Ask rustc and cargo for their versions, as they are chosen in the current directory."""
    findings = []
    for program in ("rustc", "cargo"):
        path = shutil.which(around.env.get(program.upper()) or program, path=around.env.get("PATH"))
        if path is None:
            findings.append(Finding(FAIL, f"no {program} on PATH", fix="install a Rust toolchain"))
            continue
        try:
            run = subprocess.run(
                [path, "--version"],
                env=dict(around.env),
                cwd=around.cwd,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                check=True,
            )
        except (OSError, subprocess.SubprocessError) as error:
            told = str(getattr(error, "stderr", "") or error).strip()
            findings.append(Finding(FAIL, f"{path} does not run", told, "repair the toolchain"))
            continue
        version = run.stdout.strip()
        if program == "rustc" and _minor(version) < OLDEST_MINOR:
            findings.append(
                Finding(WARN, version, f"kache knows rustc from 1.{OLDEST_MINOR} on", "update the toolchain")
            )
        else:
            findings.append(Finding(OK, f"{version} ({path})"))
    return findings


def _minor(version: str) -> int:
    """95 of `rustc 1.95.0 (…)`; a version of another form counts as new."""
    parts = [*version.split(" "), ""][1].split(".")
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else OLDEST_MINOR
