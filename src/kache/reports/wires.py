"""What went over the wire lately, transfer by transfer, and what waits to be sent: for who watches."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

SECOND_NS = 10**9
MINUTES = 60
NOW_S = 10
"""What counts as the present speed: the mean of so many seconds."""
_ROWS = 200


@dataclass(frozen=True, slots=True)
class Moved:
    """One entry looked for or sent; see `store.transfers.Transfer`."""

    at_ns: int
    direction: str
    outcome: str
    crate_name: str
    bytes: int
    waited_ms: float
    compile_ms: int


@dataclass(frozen=True, slots=True)
class Queued:
    """One entry that waits for its upload."""

    place: str
    crate_name: str
    bytes: int
    tries: int
    queued_ns: int
    due_ns: int


@dataclass(frozen=True, slots=True)
class Wire:
    """See above.

    Attributes:
        moved: the newest first.
        queued: the first to go first.
        queued_count, queued_bytes: of all that wait, what they take in the store.
        received, sent: bytes of the last hour, a minute each, the oldest first.
        received_now, sent_now: bytes a second.
    """

    moved: tuple[Moved, ...] = ()
    queued: tuple[Queued, ...] = ()
    queued_count: int = 0
    queued_bytes: int = 0
    received: tuple[int, ...] = (0,) * MINUTES
    sent: tuple[int, ...] = (0,) * MINUTES
    received_now: float = 0.0
    sent_now: float = 0.0


def collect(connection: sqlite3.Connection | None, now_ns: int) -> Wire:
    """Read it.

    Args:
        connection: the index, None for a store that does not exist yet.
        now_ns: wall clock, ns since the Unix epoch.
    """
    if connection is None or not _has_table(connection):
        return Wire()
    moved = connection.execute(
        "SELECT t.at_ns, t.direction, t.outcome, coalesce(e.crate_name, ''), t.bytes, t.waited_us / 1000.0,"
        " t.compile_ms FROM transfers t LEFT JOIN entries e ON e.key = t.key ORDER BY t.id DESC LIMIT ?",
        (_ROWS,),
    ).fetchall()
    queued = connection.execute(
        "SELECT u.place, coalesce(e.crate_name, ''), coalesce(e.bytes, 0), u.tries, u.queued_ns, u.due_ns"
        " FROM uploads u LEFT JOIN entries e ON e.key = u.key ORDER BY u.due_ns, u.queued_ns LIMIT ?",
        (_ROWS,),
    ).fetchall()
    count, size = connection.execute(
        "SELECT count(*), coalesce(sum(e.bytes), 0) FROM uploads u LEFT JOIN entries e ON e.key = u.key"
    ).fetchone()
    return Wire(
        moved=tuple(Moved(*row) for row in moved),
        queued=tuple(Queued(*row) for row in queued),
        queued_count=int(count),
        queued_bytes=int(size),
        received=_minutes(connection, "get", now_ns),
        sent=_minutes(connection, "put", now_ns),
        received_now=_now(connection, "get", now_ns),
        sent_now=_now(connection, "put", now_ns),
    )


def _minutes(connection: sqlite3.Connection, direction: str, now_ns: int) -> tuple[int, ...]:
    counts = [0] * MINUTES
    minute_ns = 60 * SECOND_NS
    rows = connection.execute(
        "SELECT (? - at_ns) / ?, sum(bytes) FROM transfers WHERE direction = ? AND at_ns > ? AND at_ns <= ? GROUP BY 1",
        (now_ns, minute_ns, direction, now_ns - MINUTES * minute_ns, now_ns),
    )
    for ago, size in rows:
        counts[MINUTES - 1 - ago] = int(size)
    return tuple(counts)


def _now(connection: sqlite3.Connection, direction: str, now_ns: int) -> float:
    row = connection.execute(
        "SELECT coalesce(sum(bytes), 0) FROM transfers WHERE direction = ? AND at_ns > ? AND at_ns <= ?",
        (direction, now_ns - NOW_S * SECOND_NS, now_ns),
    ).fetchone()
    return float(row[0]) / NOW_S


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'transfers'").fetchone() is not None
