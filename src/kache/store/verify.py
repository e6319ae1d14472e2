"""Idle work: blobs that others touched are hashed, new ones are written to the disk, broken ones dropped."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator

from kache.errors import BlobBrokenError
from kache.store import entries
from kache.store.blobs import Blobs, BlobState, sync
from kache.store.index import Index
from kache.store.recording import remove_unreferenced

_log = logging.getLogger("kache")
_PAGE = 500


class Verifier:
    """Walks the blobs of a store, a little at each call; starts again at the first after the last.

    Args:
        index: of the store.
        blobs: of the store.
    """

    def __init__(self, index: Index, blobs: Blobs) -> None:
        self._index = index
        self._blobs = blobs
        self._after = b""
        self._dropped: list[bytes] = []

    def run(self, limit_s: float) -> tuple[int, list[bytes]]:
        """Work for about so long; the number of blobs hashed or synced, and the keys of entries dropped.

        Raises:
            StoreError: the index cannot be read or written.
        """
        end = time.monotonic() + limit_s
        looked_at = 0
        self._dropped = []
        for digest in self._unsynced():
            if time.monotonic() >= end:
                break
            looked_at += self._make_durable(digest)
        while time.monotonic() < end:
            page = self._index.rows(
                "SELECT digest, size, mtime_ns, ctime_ns FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?",
                (self._after, _PAGE),
            )
            for digest, *state in page:
                looked_at += self._look_again(digest, BlobState(*state))
                self._after = digest
                if time.monotonic() >= end:
                    break
            else:
                if len(page) < _PAGE:
                    self._after = b""
                    break
        with self._index.transaction() as connection:
            self._blobs.save(connection)
        return looked_at, self._dropped

    def _unsynced(self) -> Iterator[bytes]:
        yield from (row[0] for row in self._index.rows("SELECT digest FROM blobs WHERE boot <> ''"))

    def _make_durable(self, digest: bytes) -> int:
        """Check a blob and fsync it, so that a power loss cannot take it any more."""
        try:
            with self._blobs.links:
                self._blobs.checked(digest)
            path = self._blobs.path(digest)
            sync(path)
            with self._blobs.links:
                self._blobs.remember(digest, BlobState.of(self._blobs.checked(digest)), boot="")
        except BlobBrokenError:
            self._dropped += drop_broken(self._index, self._blobs, digest)
        except OSError as error:
            _log.info("cannot sync a blob: %s", error)
        return 1

    def _look_again(self, digest: bytes, recorded: BlobState) -> int:
        """Hash a blob whose stat is not what the index has, nor what memory has."""
        try:
            with self._blobs.links:
                if BlobState.of(os.lstat(self._blobs.path(digest))) == recorded:
                    return 0
                self._blobs.checked(digest)
        except (BlobBrokenError, OSError):
            self._dropped += drop_broken(self._index, self._blobs, digest)
        return 1


def drop_broken(index: Index, blobs: Blobs, digest: bytes) -> list[bytes]:
    """Forget a blob that is missing or altered, and every entry that names it; the keys of those entries.

    Unless another process has put it right meanwhile.

    Raises:
        StoreError: the index cannot be written.
    """
    with index.transaction() as connection, blobs.links:
        blobs.forget(digest)
        if _is_right(blobs, digest):
            return []
        keys = entries.naming(connection, digest)
        free, _ = entries.delete(connection, keys)
        entries.delete_blobs(connection, [digest])
    remove_unreferenced(index, blobs, {*free, digest})
    _log.warning("blob %s is missing or altered: dropped, with %d entries", digest.hex()[:16], len(keys))
    return keys


def _is_right(blobs: Blobs, digest: bytes) -> bool:
    try:
        blobs.checked(digest)
    except BlobBrokenError:
        return False
    return True
