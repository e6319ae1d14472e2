"""What the service knows, and the plans it makes. Blocks: its methods belong into worker threads."""

from __future__ import annotations

import threading
import time
import zlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from kache.core.digest import Digest, hash_bytes
from kache.core.usage import BuildRecord, PlanScore
from kache.planner import scoring, wire
from kache.planner.knowledge import Knowledge
from kache.planner.plan import plan
from kache.planner.service.database import Database

BODIES_KEPT = 64
"""Builds of a workspace whose units are kept; of older ones the counts remain."""
OTHERS = 6
SCORES = 20
_WORKSPACES_KEPT = 64
_ANSWERS_BYTES = 64 << 20
_MAX_BODY_BYTES = 64 << 20
_HITS = frozenset({"local_hit", "prefetch_hit", "remote_hit", "dup", "seeded"})
_records = msgspec.msgpack.Decoder(BuildRecord)
_scores = msgspec.msgpack.Decoder(PlanScore)
_encode = msgspec.msgpack.Encoder().encode
_BODIES = "SELECT seq, body FROM builds WHERE workspace = ? AND seq > ? AND body IS NOT NULL ORDER BY seq DESC LIMIT ?"
_OTHERS = "SELECT body FROM builds WHERE workspace <> ? AND is_whole = 1 AND body IS NOT NULL ORDER BY seq DESC LIMIT ?"
_FORGET = (
    "UPDATE builds SET body = NULL WHERE workspace = ? AND body IS NOT NULL AND seq <="
    " (SELECT seq FROM builds WHERE workspace = ? AND body IS NOT NULL ORDER BY seq DESC LIMIT 1 OFFSET ?)"
)
_INSERT = (
    "INSERT INTO builds(id, at_s, received_s, workspace, label, job, branch, command, profile, is_whole, took_ms,"
    " units, hits, saved_ms, size_bytes, fetched_bytes, used_bytes, needed_bytes, late, score, body) VALUES"
    " (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id, at_s) DO NOTHING"
)


@dataclass(slots=True)
class _Known:
    """A workspace in memory: its builds up to a number, and what its plans were worth."""

    last: int
    knowledge: Knowledge
    worth: dict[str, float]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was answered to a question when a build was the newest of its workspace."""

    workspace: Digest
    newest: int
    body: bytes


class Brain:
    """Learns and plans.

    Args:
        database: where builds are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._known: OrderedDict[Digest, _Known] = OrderedDict()
        self._answers: OrderedDict[Digest, _Answer] = OrderedDict()
        self._answers_bytes = 0
        self._answers_lock = threading.Lock()

    def answer(self, body: bytes) -> bytes:
        """Answer a question; the same one is answered from memory until something new is known.

        Raises:
            msgspec.MsgspecError: it is none.
            PlannerDatabaseError: the database cannot be read.
        """
        mark = hash_bytes(body)
        with self._answers_lock:
            known = self._answers.get(mark)
        if known is not None and self._newest(known.workspace) == known.newest:
            return known.body
        request, budget = wire.decode_question(body)
        workspace = request.intent.workspace
        newest = self._newest(workspace)
        with self._lock:
            found = self._learnt(workspace, newest)
            made = plan(request, found.knowledge, budget, worth=found.worth)
            answer = wire.encode_answer(made, len(found.knowledge))
        self._keep(mark, _Answer(workspace, newest, answer))
        return answer

    def learn(self, body: bytes) -> bool:
        """Take the report of a build.

        Returns:
            Whether it is new.

        Raises:
            msgspec.MsgspecError: it is none.
            PlannerDatabaseError: it cannot be kept.
        """
        record = wire.decode_report(body)
        intent, score = record.intent, record.score or PlanScore()
        hits = [unit for unit in record.units if unit.outcome in _HITS]
        packed = zlib.compress(_encode(msgspec.structs.replace(record, score=None)), 1)
        values = (
            record.id,
            record.at_s,
            int(time.time()),  # machines disagree about the time: what counts is when it came
            intent.workspace,
            _text(intent.label),
            _text(intent.job),
            _text(intent.branch),
            _text(intent.command),
            _text(intent.profile),
            int(record.is_whole),
            record.took_ms,
            len(record.units),
            len(hits),
            _sum(unit.compile_ms for unit in hits),
            _sum(unit.size_bytes for unit in record.units),
            score.fetched_bytes,
            score.used_bytes,
            score.needed_bytes,
            min(score.late, wire.MAX_UNITS),
            None if record.score is None else _encode(record.score),
            packed,
        )
        with self._database.transaction() as made:
            new = int(made.execute(_INSERT, values).rowcount) == 1
            made.execute(_FORGET, (intent.workspace, intent.workspace, BODIES_KEPT))
        return new

    def retain(self, days: float) -> int:
        """Forget builds that came more than so many days ago; how many."""
        with self._database.transaction() as made:
            gone = made.execute("DELETE FROM builds WHERE received_s < ?", (int(time.time() - days * 86_400),))
            return int(gone.rowcount)

    def newest_records(self, workspace: Digest, limit: int) -> list[BuildRecord]:
        """Of a workspace, the newest first."""
        return _decoded([row[1] for row in self._database.rows(_BODIES, (workspace, 0, limit))])

    def _newest(self, workspace: Digest) -> int:
        """Number of its last build: what was learnt elsewhere, by another replica, is seen in it."""
        rows = self._database.rows("SELECT coalesce(max(seq), 0) FROM builds WHERE workspace = ?", (workspace,))
        return int(rows[0][0])

    def _learnt(self, workspace: Digest, newest: int) -> _Known:
        known = self._known.pop(workspace, None)
        if known is None:
            others = [row[0] for row in self._database.rows(_OTHERS, (workspace, OTHERS))]
            known = _Known(0, Knowledge(reversed(_decoded(others))), {})
        if known.last < newest:
            rows = self._database.rows(_BODIES, (workspace, known.last, BODIES_KEPT))
            for record in reversed(_decoded([row[1] for row in rows])):
                known.knowledge.add(record)
            known.last = newest
            known.worth = scoring.worth(self._scores(workspace))
        self._known[workspace] = known
        while len(self._known) > _WORKSPACES_KEPT:
            self._known.popitem(last=False)
        return known

    def _scores(self, workspace: Digest) -> list[PlanScore]:
        rows = self._database.rows(
            "SELECT score FROM builds WHERE workspace = ? AND score IS NOT NULL ORDER BY seq DESC LIMIT ?",
            (workspace, SCORES),
        )
        return [_scores.decode(row[0]) for row in rows]

    def _keep(self, mark: Digest, answer: _Answer) -> None:
        with self._answers_lock:
            before = self._answers.pop(mark, None)
            self._answers_bytes += len(answer.body) - (0 if before is None else len(before.body))
            self._answers[mark] = answer
            while self._answers_bytes > _ANSWERS_BYTES:
                self._answers_bytes -= len(self._answers.popitem(last=False)[1].body)


def _decoded(bodies: list[Any]) -> list[BuildRecord]:
    """Records; one that cannot be read is left out: a plan is none the worse for it."""
    found = []
    for body in bodies:
        try:
            found.append(_records.decode(zlib.decompressobj().decompress(body, _MAX_BODY_BYTES)))
        except (msgspec.MsgspecError, zlib.error):
            continue
    return found


def _sum(numbers: Iterable[int]) -> int:
    """Within what a database holds."""
    return min(sum(numbers), wire.MAX_NUMBER)


def _text(text: str) -> str:
    """PostgreSQL holds no zero byte in a text."""
    return text.replace("\0", "")
