"""Which entries to give up when the store is over its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kache.errors import StoreCorruptError

_AGE_FLOOR_S = 3600.0
"""Entries used within the same hour count as equally recent: there only what they save decides."""
_BYTES_FLOOR = 4096.0
"""Less than a disk block saves nothing, so a tiny entry is not endlessly precious."""


class Candidate(NamedTuple):
    """What eviction needs to know of an entry.

    Attributes:
        used_ns: last use, ns since the Unix epoch.
        compile_ms: what it saves each time it is used.
        blobs: its blobs, as positions in the list of blob sizes; none twice.
        protected: a running build holds it.
    """

    used_ns: int
    compile_ms: int
    blobs: tuple[int, ...]
    protected: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Attributes:
        evicted: positions of the entries to evict, the first to go first.
        freed_bytes: what that frees; a blob shared by several entries counts once, and only when the last one goes.
        kept_bytes: what the rest holds.
    """

    evicted: tuple[int, ...]
    freed_bytes: int
    kept_bytes: int


def choose(
    entries: Sequence[Candidate],
    blob_bytes: Sequence[int],
    *,
    budget_bytes: int,
    now_ns: int,
    max_age_ns: int | None = None,
) -> Plan:
    """Choose the entries to evict so the store fits its budget.

    An entry is worth compile time / bytes / age: what it saves for the room it takes, discounted by how long nobody
    has asked for it. The least worth goes first. Its bytes are those of its blobs, a shared one divided by its sharers.

    Args:
        entries: every entry of the index, any order, shape [n].
        blob_bytes: allocated bytes (st_blocks * 512, not apparent size) of every blob they name, shape [m].
        budget_bytes: upper bound on the sum of allocated bytes.
        now_ns: wall clock, ns since the Unix epoch; last uses after it (the clock was set back) count as now.
        max_age_ns: evict what was not used for longer than this, whatever the budget.

    Returns:
        A plan. Protected entries stay, even if the budget is missed for it.

    Raises:
        StoreCorruptError: an entry names a blob the index lacks.

    Note:
        Pure, O(n log n).
    """
    sharers = _sharers(entries, len(blob_bytes))
    held = sum(size for size, count in zip(blob_bytes, sharers, strict=True) if count)
    shares = [size / count if count else 0.0 for size, count in zip(blob_bytes, sharers, strict=True)]
    worths = [_worth(entry, shares, now_ns) for entry in entries]
    order = sorted((position for position, entry in enumerate(entries) if not entry.protected), key=worths.__getitem__)
    left = list(sharers)
    evicted: list[int] = []
    freed = 0

    def evict(position: int) -> int:
        evicted.append(position)
        gone = 0
        for blob in entries[position].blobs:
            left[blob] -= 1
            gone += blob_bytes[blob] if not left[blob] else 0
        return gone

    if max_age_ns is not None:
        for position in order:
            if now_ns - entries[position].used_ns > max_age_ns:
                freed += evict(position)
    done = set(evicted)
    for position in order:
        if held - freed <= budget_bytes:
            break
        if position not in done:
            freed += evict(position)
    return Plan(tuple(evicted), freed, held - freed)


def _sharers(entries: Sequence[Candidate], blob_count: int) -> list[int]:
    """How many entries name each blob."""
    sharers = [0] * blob_count
    for entry in entries:
        for blob in entry.blobs:
            if not 0 <= blob < blob_count:
                raise StoreCorruptError("an entry names a blob that the index lacks")
            sharers[blob] += 1
    return sharers


def _worth(entry: Candidate, shares: Sequence[float], now_ns: int) -> float:
    """Milliseconds saved per byte and second of disuse; `shares` are the bytes each sharer of a blob answers for."""
    size = _BYTES_FLOOR + sum([shares[blob] for blob in entry.blobs])
    age_s = _AGE_FLOOR_S + max(0, now_ns - entry.used_ns) / 1e9
    return entry.compile_ms / size / age_s
