"""Counts of what happened: `kache stats`."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass, field
from typing import Any

from kache.core.outcome import Reason
from kache.reports import plans, transfers
from kache.reports.database import Window, name_of
from kache.reports.plans import Plans
from kache.reports.render.text import human_bytes, human_duration, plural, table
from kache.reports.transfers import Transfers

_METHODS = ("linked", "cloned", "copied")
OUTCOMES = ("local_hit", "prefetch_hit", "remote_hit", "dup", "seeded", "miss", "passthrough", "error")
HITS = ("local_hit", "prefetch_hit", "remote_hit", "dup")
VERIFICATIONS = ("verified", "differs", "unverified")
FAILED = ("compile-failed", "compiler-killed")
"""Reasons of misses that say rustc itself did not get through."""
NO_CALLS = (*VERIFICATIONS, "unseeded")
"""Outcomes of events that are no calls of rustc."""


@dataclass(slots=True)
class Stats:
    """The document of `kache stats --json`.

    Attributes:
        outcomes: how each rustc call ended, every outcome present.
        failed: of the misses, the compiles that failed, which nothing could have served.
        restore: bytes that came out of the store, by how.
        passthrough_reasons: why calls went past the cache, most frequent first.
        error_reasons: what went wrong on the cache's side, most frequent first.
        store: what is kept now; `allocated_bytes` is disk (st_blocks * 512), never apparent size.
        saved_compile_ms: compile time of the hits less what serving them took.
        builds: cargo processes seen.
        build: the one build asked for, as people know it; empty for several.
        remote: what went over the wire.
        plans: how good the plans of prefetches were.
        warm_start: what was put into targets beforehand: `units`, `left` to cargo, `took_ms`, `saved_compile_ms`.
        left_reasons: why units were left to cargo, most frequent first.
        verifications: hits compiled again (`verify`), by how that ended.
        differing: of those that differ, crate to the files that do.
    """

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    failed: int = 0
    restore: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("linked_bytes", "cloned_bytes", "copied_bytes"), 0)
    )
    passthrough_reasons: dict[str, int] = field(default_factory=dict)
    error_reasons: dict[str, int] = field(default_factory=dict)
    store: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("entries", "blobs", "allocated_bytes", "max_bytes"), 0)
    )
    saved_compile_ms: int = 0
    builds: int = 0
    build: str = ""
    remote: Transfers = field(default_factory=Transfers)
    plans: Plans = field(default_factory=Plans)
    warm_start: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("units", "left", "took_ms", "saved_compile_ms"), 0)
    )
    left_reasons: dict[str, int] = field(default_factory=dict)
    verifications: dict[str, int] = field(default_factory=lambda: dict.fromkeys(VERIFICATIONS, 0))
    differing: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and ints."""
        return asdict(self)


def collect(connection: sqlite3.Connection | None, window: Window, max_bytes: int) -> Stats:
    """Count the events of a window.

    Args:
        connection: the index, None for a store that does not exist yet.
        window: which events count; `store` is always the present state.
        max_bytes: the configured budget.
    """
    stats = Stats()
    stats.store["max_bytes"] = max_bytes
    if connection is None:
        return stats
    condition, values = window.where()
    _count_events(connection, condition, values, stats)
    stats.failed = _one(
        connection,
        f"SELECT count(*) FROM events WHERE outcome = 'miss' AND reason IN {FAILED} AND {condition}",
        *values,
    )
    stats.passthrough_reasons = _reasons(connection, "passthrough", condition, values)
    stats.error_reasons = _reasons(connection, "error", condition, values)
    stats.left_reasons = _reasons(connection, "unseeded", condition, values)
    stats.differing = differing(connection, condition, values)
    stats.builds = _builds(connection, window)
    stats.build = name_of(connection, window.build) if window.build else ""
    stats.store["entries"] = _one(connection, "SELECT count(*) FROM entries")
    blobs, allocated = connection.execute("SELECT count(*), coalesce(sum(allocated), 0) FROM blobs").fetchone()
    stats.store["blobs"], stats.store["allocated_bytes"] = blobs, allocated
    stats.remote = transfers.collect(connection, window)
    stats.plans = plans.collect(connection, window)
    return stats


def _count_events(connection: sqlite3.Connection, condition: str, values: list[object], stats: Stats) -> None:
    rows = connection.execute(
        "SELECT outcome, count(*), coalesce(sum(linked_bytes), 0), coalesce(sum(cloned_bytes), 0),"
        " coalesce(sum(copied_bytes), 0),"
        " coalesce(sum(max(coalesce(compile_ms, 0) - coalesce(elapsed_us, 0) / 1000, 0)), 0),"
        " coalesce(sum(elapsed_us), 0), coalesce(sum(compile_ms), 0)"
        f" FROM events WHERE {condition} GROUP BY outcome",
        values,
    )
    for outcome, count, linked, cloned, copied, saved_ms, elapsed_us, compile_ms in rows:
        if outcome in VERIFICATIONS:
            stats.verifications[outcome] = count
            continue
        if outcome == "unseeded":
            stats.warm_start["left"] = count
            continue
        if outcome == "seeded":
            took_ms = elapsed_us // 1000
            stats.warm_start |= {"units": count, "took_ms": took_ms, "saved_compile_ms": max(compile_ms - took_ms, 0)}
        stats.outcomes[outcome] = count
        if outcome in (*HITS, "seeded"):
            stats.restore["linked_bytes"] += linked
            stats.restore["cloned_bytes"] += cloned
            stats.restore["copied_bytes"] += copied
            stats.saved_compile_ms += saved_ms


def differing(connection: sqlite3.Connection, condition: str, values: list[object]) -> dict[str, str]:
    """Hits that gave something else when they were compiled again: crate to the files that differ."""
    rows = connection.execute(
        "SELECT coalesce(crate_name, ''), coalesce(reason, '') FROM events"
        f" WHERE outcome = 'differs' AND {condition} ORDER BY id",
        values,
    )
    return {str(crate): str(files) for crate, files in rows}


def _reasons(connection: sqlite3.Connection, outcome: str, condition: str, values: list[object]) -> dict[str, int]:
    rows = connection.execute(
        "SELECT coalesce(reason, 'unknown'), count(*) FROM events"
        f" WHERE outcome = ? AND {condition} GROUP BY 1 ORDER BY 2 DESC, 1",
        [outcome, *values],
    )
    return {str(reason): int(count) for reason, count in rows}


def _builds(connection: sqlite3.Connection, window: Window) -> int:
    condition, values = window.builds_where()
    return _one(connection, f"SELECT count(*) FROM builds WHERE {condition}", *values)


def _one(connection: sqlite3.Connection, query: str, *values: object) -> int:
    return int(connection.execute(query, values).fetchone()[0])


def to_text(stats: Stats) -> str:
    """The report people read."""
    hits = sum(stats.outcomes[name] for name in HITS)
    asked = hits + stats.outcomes["miss"] - stats.failed
    rate = f" ({100 * hits / asked:.0f} % of {asked})" if asked else ""
    told = {**stats.outcomes, "miss": stats.outcomes["miss"] - stats.failed}
    rows = [[name.replace("_", " "), str(told[name])] for name in OUTCOMES]
    if stats.failed:
        rows.insert(OUTCOMES.index("miss") + 1, ["failed", str(stats.failed)])
    store = stats.store
    taken, budget = human_bytes(store["allocated_bytes"]), human_bytes(store["max_bytes"])
    parts = [
        table(["outcome", "calls"], rows, right=frozenset({1})),
        "\n".join(
            (
                *([f"build     {stats.build}"] if stats.build else []),
                f"hits      {hits}{rate} in {plural(stats.builds, 'build')}",
                f"saved     {human_duration(stats.saved_compile_ms / 1000)} of compiling",
                "restored  " + ", ".join(f"{human_bytes(stats.restore[f'{how}_bytes'])} {how}" for how in _METHODS),
                f"store     {plural(store['entries'], 'entry', 'entries')}, {taken} of {budget}",
                *transfers.to_lines(stats.remote),
                *plans.to_lines(stats.plans),
            )
        ),
    ]
    if any(stats.warm_start.values()):
        parts.append(_warm_start(stats))
    if any(stats.verifications.values()):
        parts.append(_verified(stats))
    for title, reasons in (("passthrough", stats.passthrough_reasons), ("error", stats.error_reasons)):
        if reasons:
            counts = [[reason, str(count)] for reason, count in reasons.items()]
            parts.append(table([f"{title} reason", "calls"], counts, right=frozenset({1})))
    return "\n\n".join(parts)


def to_line(stats: Stats) -> str:
    """What the cache did, in a line; empty if it was never asked."""
    outcomes = stats.outcomes
    hits, served = sum(outcomes[name] for name in HITS), outcomes["seeded"]
    asked = hits + outcomes["miss"] - stats.failed
    parts = []
    if asked:
        parts.append(f"{hits} of {plural(asked, 'compile')} from the cache ({100 * hits / asked:.0f} %)")
    edits = stats.passthrough_reasons.get(Reason.INCREMENTAL_EDIT, 0)
    for count, words in (
        (outcomes["seeded"], "put into the target beforehand"),
        (edits, "edited again and compiled incrementally"),
        (stats.failed, "failed"),
        (outcomes["passthrough"] - edits, "passed through"),
        (outcomes["error"], "not cached for an error (kache doctor)"),
    ):
        if count:
            parts.append(f"{count} {words}")
    if hits or served:
        parts.append(f"{human_duration(stats.saved_compile_ms / 1000)} of compiling saved")
    return ", ".join(parts)


def _warm_start(stats: Stats) -> str:
    found = stats.warm_start
    took, saved = (human_duration(found[name] / 1000) for name in ("took_ms", "saved_compile_ms"))
    units = plural(found["units"], "unit")
    lines = [f"warm start: {units} in place before cargo asked, {saved} of compiling saved in {took}"]
    if found["left"]:
        reasons = ", ".join(f"{reason} {count}" for reason, count in stats.left_reasons.items())
        lines.append(f"  {plural(found['left'], 'unit')} left to cargo: {reasons}")
    return "\n".join(lines)


def _verified(stats: Stats) -> str:
    same, differ, open_ = (stats.verifications[name] for name in VERIFICATIONS)
    lines = [f"verified  {plural(same + differ, 'hit')} compiled again: {same} the same, {differ} different"]
    if open_:
        lines[0] += f"; {open_} could not be"
    lines += [f"  DIFFERS {crate}: {files}" for crate, files in stats.differing.items()]
    return "\n".join(lines)
