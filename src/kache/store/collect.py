"""Garbage collection: entries evicted to keep the budget, or purged, and files no row names removed."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from kache.core.eviction import Candidate, choose
from kache.store import entries, event_log, file_digests, memos
from kache.store.blobs import Blobs
from kache.store.index import Index
from kache.store.recording import remove_unreferenced

_ROOM_BYTES = 4 << 20
"""For the index's log and shared memory while entries are deleted."""
_BATCH = 250
"""Entries a transaction: the write lock is held for some 30 ms at a time, and builds get in between."""


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection did, or would do.

    Attributes:
        evicted_entries: entries that went.
        freed_bytes: allocated bytes (st_blocks * 512) of the blobs that went; one that is also a file of some target
            dir gives its room back only when that goes too.
        kept_entries: entries that stay.
        kept_bytes: allocated bytes of their blobs.
    """

    evicted_entries: int
    freed_bytes: int
    kept_entries: int
    kept_bytes: int


def make_room(directory: Path) -> None:
    """Delete blobs on a full disk until SQLite has the room to open the index that a collection needs.

    Those that no target shares go, untouched longest first: an entry whose blob is gone is a miss, and dropped when
    it is asked for.

    Args:
        directory: of the blobs.
    """
    if not directory.is_dir():
        return
    missing = _ROOM_BYTES - shutil.disk_usage(directory).free
    if missing <= 0:
        return
    private = [(found, path) for path in directory.glob("*/*") if (found := path.lstat()).st_nlink == 1]
    for found, path in sorted(private, key=lambda each: each[0].st_ctime_ns):
        path.unlink(missing_ok=True)
        missing -= found.st_blocks * 512
        if missing <= 0:
            return


def gc(index: Index, blobs: Blobs, budget_bytes: int, *, max_age_s: float | None, dry_run: bool) -> GcReport:
    """See `LocalStore.gc`."""
    plan = _plan(index, budget_bytes, max_age_s)
    unused = _digests(index, _UNUSED_BLOBS)
    if dry_run:
        freed = plan.freed_bytes + sum(_allocated(index, digest) for digest in unused)
        return GcReport(len(plan.evicted), freed, _count(index) - len(plan.evicted), _held(index) - freed)
    freed = _drop_rows(index, blobs, unused)
    evicted, freed_by_eviction = _evict(index, blobs, plan.evicted)
    freed += freed_by_eviction + remove_unreferenced(index, blobs, leftovers(index, blobs))
    blobs.sweep()
    _trim(index)
    return GcReport(evicted, freed, _count(index), _held(index))


def purge(index: Index, blobs: Blobs, crate_name: str | None) -> GcReport:
    """See `LocalStore.purge`."""
    if crate_name is None:
        return _purge_all(index, blobs)
    keys = index.rows("SELECT key, used_ns FROM entries WHERE crate_name = ? ORDER BY key", (crate_name,))
    return GcReport(*_evict(index, blobs, keys), _count(index), _held(index))


def _purge_all(index: Index, blobs: Blobs) -> GcReport:
    with index.transaction() as connection:
        evicted = connection.execute("SELECT count(*) FROM entries").fetchone()[0]
        for table in ("entries", "entry_blobs", "memos", "inputs", "blobs"):
            connection.execute(f"DELETE FROM {table}")
    freed = remove_unreferenced(index, blobs, leftovers(index, blobs))
    _trim(index)
    return GcReport(evicted, freed, _count(index), _held(index))


@dataclass(frozen=True, slots=True)
class _Plan:
    evicted: list[tuple[bytes, int]]
    """(key, used_ns) of each."""
    freed_bytes: int


def _plan(index: Index, budget_bytes: int, max_age_s: float | None) -> _Plan:
    """What to evict; nothing is loaded while the store is within its budget."""
    if max_age_s is None and _held(index) <= budget_bytes:
        return _Plan([], 0)
    living_ns = event_log.oldest_living_ns(index.rows(event_log.RECENT_BUILDS))
    position: dict[bytes, int] = {}
    sizes: list[int] = []
    for digest, allocated in index.rows("SELECT digest, allocated FROM blobs"):
        position[digest] = len(sizes)
        sizes.append(allocated)
    named = {
        key: tuple(position.get(digest, -1) for _, digest in rows)
        for key, rows in groupby(index.rows("SELECT key, digest FROM entry_blobs ORDER BY key"), itemgetter(0))
    }
    # An entry that names a blob without a row can never be served: it goes whatever the budget.
    broken = {key for key, found in named.items() if -1 in found}
    rows = index.rows("SELECT key, used_ns, compile_ms FROM entries")
    useless = [(key, used_ns) for key, used_ns, _ in rows if key in broken] if broken else []
    if broken:
        rows = [row for row in rows if row[0] not in broken]
    plan = choose(
        [
            Candidate(used_ns, compile_ms, named.get(key, ()), living_ns is not None and used_ns >= living_ns)
            for key, used_ns, compile_ms in rows
        ],
        sizes,
        budget_bytes=budget_bytes,
        now_ns=time.time_ns(),
        max_age_ns=None if max_age_s is None else int(max_age_s * 1e9),
    )
    # By key, not by worth: each batch then changes few pages of the tables that are in that order.
    chosen = sorted([*useless, *((rows[at][0], rows[at][1]) for at in plan.evicted)])
    return _Plan(chosen, plan.freed_bytes)


def _evict(index: Index, blobs: Blobs, planned: Sequence[tuple[bytes, int]]) -> tuple[int, int]:
    """Delete entries, their rows first and then the blobs nobody names any more; how many, and the bytes freed.

    One that was used since the plan was made stays.
    """
    evicted = freed = 0
    for start in range(0, len(planned), _BATCH):
        with index.transaction() as connection:
            keys = [
                key
                for key, used_ns in planned[start : start + _BATCH]
                if connection.execute("SELECT 1 FROM entries WHERE key = ? AND used_ns = ?", (key, used_ns)).fetchone()
            ]
            digests, count = entries.delete(connection, keys)
        remove_unreferenced(index, blobs, digests)
        evicted += len(keys)
        freed += count
    return evicted, freed


def _drop_rows(index: Index, blobs: Blobs, digests: Sequence[bytes]) -> int:
    """Delete rows of blobs that no entry names, and the blobs; the bytes freed."""
    freed = 0
    for start in range(0, len(digests), _BATCH):
        with index.transaction() as connection:
            batch = [digest for digest in digests[start : start + _BATCH] if not entries.is_named(connection, digest)]
            freed += entries.delete_blobs(connection, batch)
        remove_unreferenced(index, blobs, batch)
    return freed


def leftovers(index: Index, blobs: Blobs) -> list[bytes]:
    """Digests of files without a row: what a crash between rename and commit leaves; or a commit under way."""
    found: list[bytes] = []
    for first in range(256):
        directory = b"%b/%02x" % (blobs.directory, first)
        try:
            names = os.listdir(directory)
        except OSError:
            continue
        low, high = bytes([first]), bytes([first + 1]) if first < 255 else b"\xff" * 33
        known = {row[0] for row in index.rows("SELECT digest FROM blobs WHERE digest >= ? AND digest < ?", (low, high))}
        for name in names:
            try:
                digest = bytes.fromhex(name.decode("ascii"))
            except ValueError:
                continue  # none of ours
            if digest not in known and blobs.path(digest) == b"%b/%b" % (directory, name):
                found.append(digest)
    return found


def _trim(index: Index) -> None:
    """Keep the other tables within their bounds; give free pages back when they are many."""
    for step in (memos.delete_unused_inputs, event_log.trim, file_digests.trim, entries.recount):
        with index.transaction() as connection:
            step(connection)
    index.shrink()


_UNUSED_BLOBS = (
    "SELECT digest FROM blobs WHERE NOT EXISTS (SELECT 1 FROM entry_blobs WHERE entry_blobs.digest = blobs.digest)"
)


def _digests(index: Index, query: str) -> list[bytes]:
    return [row[0] for row in index.rows(query)]


def _allocated(index: Index, digest: bytes) -> int:
    row = index.one("SELECT allocated FROM blobs WHERE digest = ?", (digest,))
    return int(row[0]) if row else 0


def _count(index: Index) -> int:
    return int(index.rows("SELECT count(*) FROM entries")[0][0])


def _held(index: Index) -> int:
    return int(index.rows("SELECT coalesce(sum(allocated), 0) FROM blobs")[0][0])
