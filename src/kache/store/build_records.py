"""Rows of `build_records`, what builds used, and of `plans`, what was brought for the builds to come.

body of a record = zlib(msgpack(BuildRecord))
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from kache.core.usage import BuildRecord, PlanScore
from kache.store import transfers
from kache.store.index import Index

MAX_OF_WORKSPACE = 32
MAX_PARTIAL = 8
"""Records of builds in targets that had most of it already."""
MAX_RECORDS = 1_000
MAX_SCORES = 2_000
MAX_BROUGHT = 100_000
MAX_BODY_BYTES = 32 << 20

_log = logging.getLogger("kache")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BuildRecord)
_score_decoder = msgspec.msgpack.Decoder(PlanScore)
_NEWEST = "SELECT body FROM build_records WHERE workspace = ? ORDER BY at_ns DESC LIMIT ?"
_OTHERS = "SELECT body FROM build_records WHERE workspace <> ? AND is_whole ORDER BY at_ns DESC LIMIT ?"
_OLD = (
    "DELETE FROM build_records WHERE id IN (SELECT id FROM build_records WHERE workspace = ? AND is_whole = ?"
    " ORDER BY at_ns DESC LIMIT -1 OFFSET ?)"
)


class BuildRecords:
    """What builds used. Thread promise and errors are the index's."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def add(self, record: BuildRecord, at_ns: int, send_to: Sequence[str] = ()) -> bool:
        """Keep a record in place of an equal one, and queue one that is new for some places.

        Returns:
            Whether it is new.
        """
        workspace = record.intent.workspace
        body = zlib.compress(_encoder.encode(record), 1)
        with self._index.transaction() as connection:
            known = connection.execute("SELECT 1 FROM build_records WHERE id = ?", (record.id,)).fetchone()
            connection.execute(
                "INSERT OR REPLACE INTO build_records(id, workspace, at_ns, is_whole, body) VALUES (?, ?, ?, ?, ?)",
                (record.id, workspace, at_ns, record.is_whole, body),
            )
            for is_whole, limit in ((True, MAX_OF_WORKSPACE), (False, MAX_PARTIAL)):
                connection.execute(_OLD, (workspace, is_whole, limit))
            connection.execute(
                "DELETE FROM build_records WHERE id IN"
                " (SELECT id FROM build_records ORDER BY at_ns DESC LIMIT -1 OFFSET ?)",
                (MAX_RECORDS,),
            )
            if known is None:
                for place in send_to:
                    transfers.add(connection, place, record.id, at_ns)
        return known is None

    def of_workspace(self, workspace: bytes, limit: int = MAX_OF_WORKSPACE) -> list[BuildRecord]:
        """The newest first."""
        return decode(self._index.rows(_NEWEST, (workspace, limit)))

    def of_others(self, workspace: bytes, limit: int) -> list[BuildRecord]:
        """Whole builds of other workspaces, the newest first."""
        return decode(self._index.rows(_OTHERS, (workspace, limit)))

    def one(self, record_id: bytes) -> BuildRecord | None:
        """A record by its id."""
        return next(iter(decode(self._index.rows("SELECT body FROM build_records WHERE id = ?", (record_id,)))), None)

    # what prefetches brought

    def brought(self, keys: Sequence[bytes], now_ns: int) -> None:
        """Note entries that a prefetch has brought and no call has used yet."""
        with self._index.transaction() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO brought(key, at_ns) VALUES (?, ?)", [(key, now_ns) for key in keys]
            )
            connection.execute(
                "DELETE FROM brought WHERE key IN (SELECT key FROM brought ORDER BY at_ns DESC LIMIT -1 OFFSET ?)",
                (MAX_BROUGHT,),
            )

    def unused(self) -> set[bytes]:
        """Keys of the entries that were brought and not used yet."""
        return {row[0] for row in self._index.rows("SELECT key FROM brought")}

    def used(self, keys: Iterable[bytes]) -> None:
        """Forget that some were brought: they have been used."""
        with self._index.transaction() as connection:
            connection.executemany("DELETE FROM brought WHERE key = ?", [(key,) for key in keys])

    # how good plans were

    def add_score(self, workspace: bytes, build: str, at_ns: int, score: PlanScore) -> None:
        """Keep the score of a plan."""
        with self._index.transaction() as connection:
            connection.execute(
                "INSERT INTO plan_scores(at_ns, workspace, build, body) VALUES (?, ?, ?, ?)",
                (at_ns, workspace, build, _encoder.encode(score)),
            )
            connection.execute(
                "DELETE FROM plan_scores WHERE id <= (SELECT max(id) FROM plan_scores) - ?", (MAX_SCORES,)
            )

    def scores(self, workspace: bytes, limit: int) -> list[PlanScore]:
        """Of a workspace's plans, the newest first."""
        rows = self._index.rows(
            "SELECT body FROM plan_scores WHERE workspace = ? ORDER BY id DESC LIMIT ?", (workspace, limit)
        )
        found = []
        for (body,) in rows:
            try:
                found.append(_score_decoder.decode(body))
            except msgspec.MsgspecError as error:
                _log.warning("a plan's score cannot be read: %s", error)
        return found


def decode(rows: Iterable[tuple[Any, ...]]) -> list[BuildRecord]:
    """Records of rows; one that cannot be read is left out."""
    found = []
    for (body,) in rows:
        try:
            found.append(_decoder.decode(zlib.decompressobj().decompress(body, MAX_BODY_BYTES)))
        except (msgspec.MsgspecError, zlib.error) as error:
            _log.warning("a build's record cannot be read: %s", error)
    return found
