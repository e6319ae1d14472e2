"""What a build did, unit by unit: the data of `kache report`, whatever it is drawn as.

One build is one cargo command: events carry the cargo process they came from.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from kache.reports import stats, why_miss
from kache.reports.database import Window
from kache.reports.stats import HITS, NO_CALLS, Stats

SCHEMA_VERSION = 1
"""Of the document; raised when a field is removed or changes its meaning."""
MAX_UNITS = 5_000
_MAX_EXPLAINED = 500
_DAYS = 30
_DAY_NS = 86_400 * 10**9
QUESTIONS = ("query", "probe", "stdin-source")
"""Reasons of calls that compile nothing."""


@dataclass(slots=True)
class Unit:
    """One rustc call.

    Attributes:
        at_ns: when it came, ns since the Unix epoch.
        start_ms: the same, from the report's first unit.
        duration_ms: what cargo waited: the compile for a miss, kache's own time for a hit.
        compile_ms: of the compile; for a hit, of the one it saved.
        cause: of a miss: `first-compile`, `entry-gone`, `failed`, `not-recorded`, or the kind of the first input
            that changed.
        detail: name of that input.
        bytes: put in place by a hit.
    """

    at_ns: int
    build: str
    crate_name: str
    unit_kind: str
    outcome: str
    reason: str
    start_ms: float
    duration_ms: float
    compile_ms: int
    cause: str = ""
    detail: str = ""
    bytes: int = 0


@dataclass(slots=True)
class Build:
    """One cargo command; `saved_ms` is compile time that hits saved, `wall_ms` first call to last."""

    id: str
    command: str
    root: str
    started_ns: int
    wall_ms: float
    hits: int
    misses: int
    passthroughs: int
    errors: int
    saved_ms: int


@dataclass(slots=True)
class Day:
    """What was saved on one day (UTC), which began at `start_ns`."""

    start_ns: int
    hits: int
    misses: int
    saved_ms: int


@dataclass(slots=True)
class Report:
    """The document of `kache report --json`.

    Attributes:
        schema_version: of this document.
        scope: what it is about, in words.
        stats: counts, as in `kache stats`.
        builds: of the window, newest first.
        units: of the window, in order of their start; the newest `MAX_UNITS`.
        units_left_out: how many there were more.
        causes: of misses, most frequent first.
        days: savings over time, oldest first, whatever the window.
    """

    schema_version: int
    scope: str
    generated_ns: int
    stats: Stats
    builds: list[Build] = field(default_factory=list)
    units: list[Unit] = field(default_factory=list)
    units_left_out: int = 0
    causes: dict[str, int] = field(default_factory=dict)
    days: list[Day] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def span_ms(self) -> float:
        """From the first unit's start to the last one's end."""
        return max((unit.start_ms + unit.duration_ms for unit in self.units), default=0.0)

    def slowest(self, count: int) -> list[Unit]:
        """The units cargo waited for longest."""
        return sorted(self.units, key=lambda unit: -unit.duration_ms)[:count]

    def chronic(self, count: int) -> list[tuple[str, int, int]]:
        """Crates that were compiled most often: name, misses, compile time in ms."""
        misses: Counter[str] = Counter()
        times: Counter[str] = Counter()
        for unit in self.units:
            if unit.outcome == "miss":
                misses[unit.crate_name] += 1
                times[unit.crate_name] += unit.compile_ms
        ranked = sorted(misses, key=lambda name: (-misses[name], -times[name], name))[:count]
        return [(name, misses[name], times[name]) for name in ranked]


def collect(
    connection: sqlite3.Connection | None,
    window: Window,
    *,
    scope: str,
    max_bytes: int,
    now_ns: int,
    explains: bool = True,
) -> Report:
    """Read one window.

    Args:
        connection: the index, None for a store that does not exist yet.
        window: which builds.
        scope: what the window is, in words.
        max_bytes: the configured budget.
        now_ns: wall clock, ns since the Unix epoch.
        explains: find the causes of misses, which takes longest.
    """
    report = Report(SCHEMA_VERSION, scope, now_ns, stats.collect(connection, window, max_bytes))
    if connection is None:
        return report
    report.builds = _builds(connection, window)
    _units(connection, window, report)
    if explains:
        _causes(connection, window, report)
    report.days = _days(connection, window.root, now_ns)
    return report


def _builds(connection: sqlite3.Connection, window: Window) -> list[Build]:
    condition, values = window.builds_where()
    rows = connection.execute(
        "SELECT build_id, coalesce(command, ''), coalesce(root, ''), started_ns,"
        " max(at_ns + 1000 * coalesce(elapsed_us, 0) + CASE outcome WHEN 'miss' THEN 1000000 * coalesce(compile_ms, 0)"
        " ELSE 0 END),"
        f" coalesce(sum(outcome IN {HITS}), 0), coalesce(sum(outcome = 'miss'), 0),"
        " coalesce(sum(outcome = 'passthrough'), 0), coalesce(sum(outcome = 'error'), 0),"
        f" coalesce(sum(CASE WHEN outcome IN {HITS} THEN {_SAVED} ELSE 0 END), 0)"
        " FROM (SELECT id AS build_id, command, root, started_ns FROM builds WHERE"
        f" {condition}) JOIN events ON build = build_id GROUP BY build_id ORDER BY started_ns DESC",
        values,
    )
    return [
        Build(id_, command, root, start_ns, max((end_ns or start_ns) - start_ns, 0) / 1e6, *counts)
        for id_, command, root, start_ns, end_ns, *counts in rows
    ]


def _units(connection: sqlite3.Connection, window: Window, report: Report) -> None:
    condition, values = window.where()
    condition = f"{condition} AND coalesce(reason, '') NOT IN {QUESTIONS} AND outcome NOT IN {NO_CALLS}"
    rows = connection.execute(
        "SELECT at_ns, build, coalesce(crate_name, ''), coalesce(unit_kind, ''), outcome, coalesce(reason, ''),"
        " coalesce(elapsed_us, 0), coalesce(compile_ms, 0),"
        " coalesce(linked_bytes, 0) + coalesce(cloned_bytes, 0) + coalesce(copied_bytes, 0)"
        f" FROM events WHERE {condition} ORDER BY id DESC LIMIT ?",
        [*values, MAX_UNITS],
    ).fetchall()
    if not rows:
        return
    rows.sort()
    total = connection.execute(f"SELECT count(*) FROM events WHERE {condition}", values).fetchone()[0]
    report.units_left_out = total - len(rows)
    start_ns = rows[0][0]
    for at_ns, build, crate, kind, outcome, reason, elapsed_us, compile_ms, count in rows:
        own_ms = elapsed_us / 1000
        waited_ms = own_ms if outcome in (*HITS, "seeded") else own_ms + compile_ms
        report.units.append(
            Unit(
                at_ns=at_ns,
                build=build,
                crate_name=crate,
                unit_kind=kind,
                outcome=outcome,
                reason=reason,
                start_ms=round((at_ns - start_ns) / 1e6, 3),
                duration_ms=round(waited_ms, 3),
                compile_ms=compile_ms,
                bytes=count,
            )
        )


def _causes(connection: sqlite3.Connection, window: Window, report: Report) -> None:
    """Tell each miss its cause: the same event has the same time, crate and kind."""
    known: dict[tuple[str, str, int], tuple[str, str]] = {}
    counts: Counter[str] = Counter()
    for each in why_miss.of_window(connection, window, _MAX_EXPLAINED):
        change = each.changes[0] if each.cause == "inputs-changed" and each.changes else None
        cause = change.kind if change else each.cause
        counts[cause] += 1
        known[each.crate_name, each.unit_kind, each.at_ns] = (cause, change.label if change else "")
    for unit in report.units:
        if unit.outcome == "miss":
            unit.cause, unit.detail = known.get((unit.crate_name, unit.unit_kind, unit.at_ns), ("", ""))
    report.causes = dict(counts.most_common())


def _days(connection: sqlite3.Connection, root: str | None, now_ns: int) -> list[Day]:
    first = now_ns // _DAY_NS - _DAYS + 1
    condition, values = Window(since_ns=first * _DAY_NS, root=root).where()
    rows = connection.execute(
        f"SELECT at_ns / {_DAY_NS}, sum(outcome IN {HITS}), sum(outcome = 'miss'),"
        f" sum(CASE WHEN outcome IN {HITS} THEN {_SAVED} ELSE 0 END)"
        f" FROM events WHERE {condition} AND at_ns <= ? GROUP BY 1 ORDER BY 1",
        [*values, now_ns],
    ).fetchall()
    return [Day(day * _DAY_NS, hits, misses, int(saved)) for day, hits, misses, saved in rows]


_SAVED = "max(coalesce(compile_ms, 0) - coalesce(elapsed_us, 0) / 1000, 0)"
