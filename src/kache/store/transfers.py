"""Rows of `uploads`, the durable queue of what is to be sent, and of `transfers`, what went over the wire."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from kache.store.index import Index

MAX_TRANSFERS = 100_000
PLACES_KEPT_NS = 30 * 24 * 3600 * 10**9
"""What was sent so long ago may have been collected there."""


class Transfer(NamedTuple):
    """One entry looked for in a remote, or sent to it.

    Attributes:
        at_ns: wall clock at its end, ns since the Unix epoch.
        build: id of the build that waited; empty for what nobody waits for.
        direction: `get` or `put`.
        outcome: of a get `hit`, `absent`, `slower`, `late`, `failed` or `refused`; of a put `stored`, `present`,
            `differs`, `failed` or `gone`.
        key: of the entry, None where it is not known.
        requests: made for it.
        bytes: received or sent.
        waited_us: of a get: how long the build waited.
        compile_ms: what compiling it took, 0 if that is not known.
    """

    at_ns: int
    build: str
    direction: str
    outcome: str
    key: bytes | None
    requests: int
    bytes: int
    waited_us: int
    compile_ms: int


class Waiting(NamedTuple):
    """An entry that waits for its upload."""

    place: str
    key: bytes
    tries: int
    queued_ns: int = 0


class UploadQueue:
    """What is to be sent, of all places. Thread promise and errors are the index's."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def count(self, place: str = "") -> int:
        """How much waits, for one place or all."""
        condition, values = ("WHERE place = ?", (place,)) if place else ("", ())
        return int(self._index.rows(f"SELECT count(*) FROM uploads {condition}", values)[0][0])

    def due(self, place: str, now_ns: int, limit: int) -> list[Waiting]:
        """What may be sent now, the oldest first."""
        rows = self._index.rows(
            "SELECT place, key, tries, queued_ns FROM uploads WHERE place = ? AND due_ns <= ?"
            " ORDER BY queued_ns LIMIT ?",
            (place, now_ns, limit),
        )
        return [Waiting(*row) for row in rows]

    def add(self, place: str, keys: Sequence[bytes], now_ns: int) -> None:
        """Have entries sent."""
        with self._index.transaction() as connection:
            for key in keys:
                add(connection, place, key, now_ns)

    def done(self, items: Sequence[Waiting]) -> None:
        """Nothing is left to do for some."""
        with self._index.transaction() as connection:
            connection.executemany(
                "DELETE FROM uploads WHERE place = ? AND key = ?", [(item.place, item.key) for item in items]
            )

    def postpone(self, items: Sequence[Waiting], due_ns: int) -> None:
        """Try some again, not before a time."""
        with self._index.transaction() as connection:
            connection.executemany(
                "UPDATE uploads SET due_ns = ?, tries = tries + 1 WHERE place = ? AND key = ?",
                [(due_ns, item.place, item.key) for item in items],
            )

    def trim(self, limit: int) -> int:
        """Give up the oldest beyond a number; how many."""
        surplus = self.count() - limit
        if surplus <= 0:
            return 0
        with self._index.transaction() as connection:
            connection.execute(
                "DELETE FROM uploads WHERE (place, key) IN (SELECT place, key FROM uploads ORDER BY queued_ns LIMIT ?)",
                (surplus,),
            )
        return surplus

    def note_places(self, place: str, found: Mapping[bytes, bytes]) -> None:
        """Remember where a remote has entries: key to what `kache.remote.documents` says of it."""
        if not found:
            return
        now_ns = time.time_ns()
        with self._index.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO remote_places(place, key, at_ns, body) VALUES (?, ?, ?, ?)",
                [(place, key, now_ns, body) for key, body in found.items()],
            )
            connection.execute("DELETE FROM remote_places WHERE at_ns < ?", (now_ns - PLACES_KEPT_NS,))

    def places(self, place: str, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        """Where a remote has entries, of those for which it is known."""
        found = {}
        for key in keys:
            row = self._index.one("SELECT body FROM remote_places WHERE place = ? AND key = ?", (place, key))
            if row is not None:
                found[key] = bytes(row[0])
        return found

    def note(self, transfers: Sequence[Transfer]) -> None:
        """Write what went over the wire."""
        with self._index.transaction() as connection:
            connection.executemany(
                "INSERT INTO transfers(at_ns, build, direction, outcome, key, requests, bytes, waited_us, compile_ms)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                transfers,
            )
            newest, oldest = connection.execute("SELECT max(id), min(id) FROM transfers").fetchone()
            if newest is not None and newest - oldest >= MAX_TRANSFERS:
                connection.execute("DELETE FROM transfers WHERE id <= ?", (newest - MAX_TRANSFERS,))


def add(connection: sqlite3.Connection, place: str, key: bytes, now_ns: int) -> None:
    """Queue an entry, inside a transaction."""
    connection.execute(
        "INSERT OR IGNORE INTO uploads(place, key, queued_ns, due_ns) VALUES (?, ?, ?, ?)", (place, key, now_ns, now_ns)
    )
