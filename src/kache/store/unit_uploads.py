"""Rows of `unit_uploads`: unit sets that wait to be sent to remotes.

One row for each set of a place: a newer one takes the place of one that still waits. Once it is sent the row stays
without its body, to tell whether the next one says anything new.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from kache.core.digest import Digest, hash_parts
from kache.store.index import Index

QUIET_S = 300.0
"""How long after a set a newer one of the same kind is sent: edits follow each other."""


class WaitingSet(NamedTuple):
    """A unit set that waits for its upload: `body` is whoever queued it's."""

    id: Digest
    tries: int
    digest: Digest
    body: bytes


class UnitUploads:
    """What is to be sent, of all places. Thread promise and errors are the index's."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add(self, place: str, subject: Digest, digest: Digest, body: bytes) -> bool:
        """Have a set sent.

        Args:
            place: URL of the remote.
            subject: which set: one of a subject waits at a time.
            digest: of what it says; nothing is queued if the last one sent said the same.
            body: the set.

        Returns:
            Whether it waits now.
        """
        now_ns, name = time.time_ns(), hash_parts([place.encode(), subject])
        with self._index.transaction() as connection:
            row = connection.execute("SELECT sent_digest, sent_ns FROM unit_uploads WHERE id = ?", (name,)).fetchone()
            sent_digest, sent_ns = row or (None, None)
            if sent_digest == digest:
                return False
            due_ns = now_ns if sent_ns is None else max(now_ns, sent_ns + int(QUIET_S * 1e9))
            connection.execute(
                "INSERT OR REPLACE INTO unit_uploads(id, place, queued_ns, due_ns, digest, sent_digest, sent_ns, body)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (name, place, now_ns, due_ns, digest, sent_digest, sent_ns, body),
            )
        return True

    def due(self, place: str, now_ns: int) -> WaitingSet | None:
        """One that may be sent now."""
        row = self._index.one(
            "SELECT id, tries, digest, body FROM unit_uploads WHERE place = ? AND due_ns <= ? AND body NOT NULL"
            " ORDER BY queued_ns LIMIT 1",
            (place, now_ns),
        )
        return None if row is None else WaitingSet(*row)

    def count(self, place: str = "") -> int:
        """How many wait, for one place or all."""
        condition, values = ("AND place = ?", (place,)) if place else ("", ())
        return int(self._index.rows(f"SELECT count(*) FROM unit_uploads WHERE body NOT NULL {condition}", values)[0][0])

    def sent(self, waiting: WaitingSet) -> None:
        """It is there. A newer one that was queued meanwhile goes on waiting."""
        with self._index.transaction() as connection:
            connection.execute(
                "UPDATE unit_uploads SET sent_digest = ?, sent_ns = ? WHERE id = ?",
                (waiting.digest, time.time_ns(), waiting.id),
            )
            connection.execute(
                "UPDATE unit_uploads SET body = NULL, tries = 0 WHERE id = ? AND digest = ?",
                (waiting.id, waiting.digest),
            )

    def give_up(self, waiting: WaitingSet) -> None:
        """It cannot be sent: the next one is tried anew."""
        with self._index.transaction() as connection:
            connection.execute(
                "UPDATE unit_uploads SET body = NULL, tries = 0 WHERE id = ? AND digest = ?",
                (waiting.id, waiting.digest),
            )

    def postpone(self, waiting: WaitingSet, due_ns: int) -> None:
        """Try it again, not before a time."""
        with self._index.transaction() as connection:
            connection.execute(
                "UPDATE unit_uploads SET due_ns = ?, tries = tries + 1 WHERE id = ?", (due_ns, waiting.id)
            )
