"""Whether the cache is of use: what the last build and the last day say."""

from __future__ import annotations

import sqlite3
import time

from kache.errors import StoreError
from kache.reports import stats
from kache.reports.database import Window, last_build, reading
from kache.reports.render.text import human_duration, plural
from kache.setup.finding import OK, SKIP, WARN, Finding, Surroundings

_DAY_S = 86_400
_SHARE = 0.5
_FEW = 10


def check(around: Surroundings) -> list[Finding]:
    """A wrapper that is called and caches little is worth a word, with the reasons."""
    try:
        with reading(around.config.cache_dir) as connection:
            if connection is None:
                return [Finding(OK, "nothing was compiled through kache yet")]
            return _look(connection)
    except StoreError as error:
        return [Finding(SKIP, "the store cannot be read", error.why)]


def _look(connection: sqlite3.Connection) -> list[Finding]:
    findings = []
    since_ns = time.time_ns() - _DAY_S * 10**9
    errors = stats.collect(connection, Window(since_ns=since_ns), max_bytes=0)
    if errors.outcomes["error"]:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in errors.error_reasons.items())
        what = f"{plural(errors.outcomes['error'], 'call')} met trouble on the cache's side in the last day: {reasons}"
        findings.append(Finding(WARN, what, "they were compiled by plain rustc", "kache daemon log"))
    build = last_build(connection)
    last = stats.collect(connection, Window(build=build), max_bytes=0)
    passed = sum(
        count for reason, count in last.passthrough_reasons.items() if reason not in ("query", "probe", "stdin-source")
    )
    asked = sum(last.outcomes[name] for name in (*stats.HITS, "miss")) + passed
    if passed > _FEW and passed > asked * _SHARE:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in [*last.passthrough_reasons.items()][:3])
        what = f"{passed} of {asked} compiles of the last build went past the cache: {reasons}"
        findings.append(Finding(WARN, what, "kache is called and does little", "kache why-miss names them"))
    if findings:
        return findings
    row = connection.execute("SELECT max(last_ns) FROM builds").fetchone()
    if row[0] is None:
        return [Finding(OK, "nothing was compiled through kache yet")]
    return [Finding(OK, f"last build {human_duration(max(time.time_ns() - row[0], 0) / 1e9)} ago")]
