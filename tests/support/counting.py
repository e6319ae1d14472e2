"""What the store recorded of the rustc calls of one command, and what a test expects of them."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HITS = ("local_hit", "prefetch_hit", "remote_hit")
NO_CALLS = ("verified", "differs", "unverified", "unseeded")
"""Outcomes of no call: a hit compiled again, at any time; a unit that warm start left to cargo."""
QUESTIONS = ("query", "stdin-source")
"""Reasons of calls that compile nothing: cargo's own probes, made or not made as cargo pleases."""


@dataclass(frozen=True)
class Call:
    """One rustc call as the index has it."""

    crate: str
    kind: str
    outcome: str
    reason: str
    linked_bytes: int
    cloned_bytes: int
    copied_bytes: int

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{self.outcome:12} {self.kind:14} {self.crate}{reason}"


@dataclass(frozen=True)
class Calls:
    """The calls of one command, in the order they were recorded."""

    all: tuple[Call, ...]

    @property
    def hits(self) -> list[Call]:
        """Served from the store."""
        return [call for call in self.all if call.outcome in HITS]

    @property
    def dups(self) -> list[Call]:
        """Served from a compile of the same thing in flight."""
        return [call for call in self.all if call.outcome == "dup"]

    @property
    def misses(self) -> list[Call]:
        """Compiled, stored or not."""
        return [call for call in self.all if call.outcome == "miss"]

    @property
    def passthroughs(self) -> list[Call]:
        """Compiles that went past the cache; questions to rustc are not among them."""
        return [call for call in self.all if call.outcome == "passthrough" and call.reason not in QUESTIONS]

    @property
    def errors(self) -> list[Call]:
        """Calls in which the cache's side failed."""
        return [call for call in self.all if call.outcome == "error"]

    def expect(
        self,
        *,
        hits: int | str | None = None,
        misses: int | str | None = None,
        passthroughs: int | str | None = 0,
        errors: int | str | None = 0,
        dups: int | str | None = 0,
    ) -> None:
        """Compare with what should have happened.

        Args:
            hits: how many, or the names of the crates divided by blanks (one name for each call), or None for any; the
                others likewise.
        """
        wanted = {"hits": hits, "misses": misses, "passthroughs": passthroughs, "errors": errors, "dups": dups}
        wrong = [name for name, value in wanted.items() if not _fits(getattr(self, name), value)]
        assert not wrong, f"expected {wanted}, but there were\n{self}"

    def of(self, crate: str) -> list[Call]:
        """The calls that compile one crate."""
        return [call for call in self.all if call.crate == crate]

    def __str__(self) -> str:
        return "\n".join(f"  {call}" for call in self.all) or "  no calls"


def _fits(found: Sequence[Call], wanted: int | str | None) -> bool:
    if wanted is None:
        return True
    if isinstance(wanted, int):
        return len(found) == wanted
    return Counter(call.crate for call in found) == Counter(wanted.split())


def read_calls(index: Path, after: int) -> tuple[Calls, int]:
    """Calls recorded after an event, and the newest event's number; none where the index cannot be read.

    Args:
        index: the file.
        after: the newest event known.
    """
    query = (
        "SELECT id, coalesce(crate_name, ''), coalesce(unit_kind, ''), outcome, coalesce(reason, ''),"
        " linked_bytes, cloned_bytes, copied_bytes FROM events WHERE id > ? ORDER BY id"
    )
    try:
        connection = sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=5)
        try:
            rows = connection.execute(query, (after,)).fetchall()
        finally:
            connection.close()
    except sqlite3.DatabaseError:
        return Calls(()), after
    newest = rows[-1][0] if rows else after
    calls = (Call(*row[1:]) for row in rows)
    return Calls(tuple(call for call in calls if call.outcome not in NO_CALLS)), newest
