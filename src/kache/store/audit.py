"""A whole look at a store, on request: every blob there and of its size, on demand of its content, nothing unnamed."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field

from kache.errors import BlobBrokenError
from kache.store import collect, entries, hashing
from kache.store.blobs import Blobs
from kache.store.index import Index
from kache.store.recording import remove_unreferenced


@dataclass(slots=True)
class AuditReport:
    """What was found.

    Attributes:
        blobs: number looked at.
        hashed_bytes: how much of their content was read.
        missing: digests of blobs that are not there.
        altered: digests of blobs that do not hold what they must.
        hollow_entries: entries that name a blob the index does not know.
        leftover_files: files no row names, as a crash leaves them; no damage, the next gc removes them.
        dropped_entries: entries that a repair removed; each is one more compile.
    """

    blobs: int = 0
    hashed_bytes: int = 0
    missing: list[bytes] = field(default_factory=list)
    altered: list[bytes] = field(default_factory=list)
    hollow_entries: int = 0
    leftover_files: int = 0
    dropped_entries: int = 0

    @property
    def is_sound(self) -> bool:
        """No damage."""
        return not (self.missing or self.altered or self.hollow_entries)


def audit(
    index: Index, blobs: Blobs, *, checksums: bool, repair: bool, progress: Callable[[int, int], None]
) -> AuditReport:
    """See `LocalStore.audit`."""
    report = AuditReport()
    digests = [row[0] for row in index.rows("SELECT digest FROM blobs ORDER BY digest")]
    for digest in digests:
        _look_at(blobs, digest, report, checksums=checksums)
        report.blobs += 1
        progress(report.blobs, len(digests))
    hollow = [row[0] for row in index.rows(_HOLLOW)]
    report.hollow_entries = len(hollow)
    leftovers = collect.leftovers(index, blobs)
    report.leftover_files = len(leftovers)
    if repair:
        report.dropped_entries = _drop(index, blobs, [*report.missing, *report.altered], hollow)
        remove_unreferenced(index, blobs, leftovers)
    return report


def _look_at(blobs: Blobs, digest: bytes, report: AuditReport, *, checksums: bool) -> None:
    try:
        size = blobs.stat(digest).st_size
    except BlobBrokenError:
        report.missing.append(digest)
        return
    try:
        if not checksums:
            with blobs.links:
                blobs.checked(digest)
            return
        fd = os.open(blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            right = hashing.hash_fd(fd) == digest
        finally:
            os.close(fd)
        report.hashed_bytes += size
    except (BlobBrokenError, OSError):
        right = False
    if not right:
        report.altered.append(digest)


def _drop(index: Index, blobs: Blobs, broken: list[bytes], hollow: list[bytes]) -> int:
    with index.transaction() as connection:
        keys = {key for digest in broken for key in entries.naming(connection, digest)} | set(hollow)
        free, _ = entries.delete(connection, keys)
        entries.delete_blobs(connection, broken)
        for digest in broken:
            blobs.forget(digest)
    remove_unreferenced(index, blobs, {*free, *broken})
    return len(keys)


_HOLLOW = "SELECT DISTINCT key FROM entry_blobs WHERE digest NOT IN (SELECT digest FROM blobs)"
