"""Whether compiles are observed, and if not, why."""

from __future__ import annotations

import subprocess

from kache.setup.checks.versions import find_launcher
from kache.setup.finding import OK, SKIP, WARN, Finding, Surroundings

_TIMEOUT_S = 10
_RULES = "explicit rules alone decide what a compile depends on: what a macro reads without saying so is not seen"


def check(around: Surroundings) -> list[Finding]:
    """Ask the launcher, which carries the library that observes."""
    if not around.config.observe:
        origin = around.config.origins.get("observe", "")
        return [Finding(WARN, f"compiles are not observed: switched off by {origin}", _RULES, "take that setting out")]
    launcher = find_launcher()
    if launcher is None:
        return [Finding(SKIP, "no native launcher to ask whether compiles are observed")]
    try:
        run = subprocess.run(
            [launcher, "--observer"],
            env=dict(around.env),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return [Finding(SKIP, f"cannot ask {launcher} whether compiles are observed: {error}")]
    word, _, rest = run.stdout.strip().partition(": ")
    if word == "on":
        return [Finding(OK, f"compiles are observed, with {rest}")]
    return [Finding(WARN, f"compiles are not observed: {rest}", _RULES)]
