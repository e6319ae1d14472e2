"""Clocks: cargo goes by dates, and so does eviction."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from pathlib import Path

from kache.errors import StoreError
from kache.reports.database import reading
from kache.setup.checks.links import target_dir_of
from kache.setup.disk import nearest_existing
from kache.setup.finding import OK, SKIP, WARN, Finding, Surroundings

_SKEW_S = 2.0
_AHEAD_S = 60.0


def check(around: Surroundings) -> list[Finding]:
    """Compare the system's clock with the filesystems' and with what the store remembers."""
    findings = []
    places = {nearest_existing(around.config.cache_dir)}
    target = target_dir_of(around)
    if target is not None:
        places.add(nearest_existing(target))
    for place in sorted(places):
        skew = _skew_s(place)
        if skew is not None and abs(skew) > _SKEW_S:
            what = f"the clock of {place} is {skew:+.0f} s off this machine's"
            why = "cargo compares dates of both, so it compiles again what is fresh, or believes what is stale"
            findings.append(Finding(WARN, what, why, "set both clocks by NTP"))
    ahead = _ahead_s(around)
    if ahead > _AHEAD_S:
        what = f"the store knows compiles from {ahead:.0f} s in the future"
        findings.append(
            Finding(WARN, what, "the clock was put back: what is old looks new to gc", "nothing, it passes")
        )
    if findings:
        return findings
    return [Finding(OK, "system and filesystems agree")] if places else [Finding(SKIP, "nothing to compare")]


def _skew_s(directory: Path) -> float | None:
    try:
        with tempfile.NamedTemporaryFile(dir=directory, prefix=".kache-doctor-") as file:
            before = time.time()
            os.utime(file.name)
            return Path(file.name).stat().st_mtime - before
    except OSError:
        return None


def _ahead_s(around: Surroundings) -> float:
    try:
        with reading(around.config.cache_dir) as connection:
            row = connection.execute("SELECT max(at_ns) FROM events").fetchone() if connection else None
    except (StoreError, sqlite3.Error):
        return 0.0
    return row[0] / 1e9 - time.time() if row and row[0] else 0.0
