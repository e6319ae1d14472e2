"""Rows of `events` and `builds`: what happened, for the reports and for eviction."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from kache.core.entry import Event
from kache.util import processes

MAX_EVENTS = 200_000
MAX_EVENTS_WITH_INPUTS = 20_000
"""The key inputs of a miss take a kilobyte or two; why-miss compares with recent ones."""
_BUILDS_ASKED = 1_000


def add(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    """Write events with what follows from them: their builds, and the hits of entries."""
    connection.executemany(
        "INSERT INTO events(at_ns, build, crate_name, unit_kind, outcome, reason, elapsed_us, compile_ms, linked_bytes,"
        " cloned_bytes, copied_bytes, inputs) VALUES (?, ?, ?, ?, ?, nullif(?, ''), ?, ?, ?, ?, ?, ?)",
        [
            (
                event.at_ns,
                event.build,
                event.crate_name,
                event.unit_kind,
                event.outcome,
                event.reason,
                event.elapsed_us,
                event.compile_ms,
                event.linked_bytes,
                event.cloned_bytes,
                event.copied_bytes,
                event.inputs,
            )
            for event in events
        ],
    )
    _add_builds(connection, events)
    _add_hits(connection, events)


def _add_builds(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    spans: dict[str, list[int]] = {}
    last = {event.build: event for event in events if event.build}
    for event in events:
        if event.build:
            span = spans.setdefault(event.build, [event.at_ns, event.at_ns])
            span[:] = min(span[0], event.at_ns), max(span[1], event.at_ns)
    connection.executemany(
        "INSERT INTO builds(id, started_ns, last_ns, root, command) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT(id) DO UPDATE SET started_ns = min(started_ns, excluded.started_ns),"
        " last_ns = max(last_ns, excluded.last_ns)",
        [(build, *span, last[build].build_root, last[build].build_command) for build, span in spans.items()],
    )


def _add_hits(connection: sqlite3.Connection, events: Sequence[Event]) -> None:
    hits: dict[bytes, tuple[int, int]] = {}
    for event in events:
        if event.entry_key is not None:
            count, used_ns = hits.get(event.entry_key, (0, 0))
            hits[event.entry_key] = (count + 1, max(used_ns, event.at_ns))
    connection.executemany(
        "UPDATE entries SET hits = hits + ?, used_ns = max(used_ns, ?) WHERE key = ?",
        [(count, used_ns, key) for key, (count, used_ns) in hits.items()],
    )
    connection.executemany(
        "UPDATE memos SET used_ns = max(used_ns, ?) WHERE key = ?",
        [(used_ns, key) for key, (_, used_ns) in hits.items()],
    )


def trim(connection: sqlite3.Connection) -> None:
    """Delete the oldest events beyond the bound, and builds that none of the rest belongs to."""
    last = connection.execute("SELECT max(id), min(id) FROM events").fetchone()
    if last[0] is None:
        return
    newest, oldest = last
    if newest - oldest >= MAX_EVENTS_WITH_INPUTS:
        connection.execute(
            "UPDATE events SET inputs = NULL WHERE id <= ? AND inputs IS NOT NULL", (newest - MAX_EVENTS_WITH_INPUTS,)
        )
    if newest - oldest >= MAX_EVENTS:
        connection.execute("DELETE FROM events WHERE id <= ?", (newest - MAX_EVENTS,))
        connection.execute("DELETE FROM builds WHERE last_ns < (SELECT min(at_ns) FROM events)")


def oldest_living_ns(builds: Sequence[tuple[str, int]]) -> int | None:
    """When the longest running of some builds started, ns since the Unix epoch; None if none runs any more.

    Args:
        builds: (id "<pid>-<start ticks>", first event's time) of each; the process started before its first event.
    """
    starts = []
    for build, first_ns in builds:
        pid, _, ticks = build.partition("-")
        if pid.isdigit() and ticks.isdigit() and processes.start_ticks(int(pid)) == int(ticks):
            starts.append(min(first_ns, processes.started_ns(int(ticks))))
    return min(starts, default=None)


RECENT_BUILDS = f"SELECT id, started_ns FROM builds ORDER BY last_ns DESC LIMIT {_BUILDS_ASKED}"
"""The rows `oldest_living_ns` wants."""
