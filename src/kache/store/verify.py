"""Idle work: blobs that others touched are hashed, new ones are written to the disk, broken ones dropped."""

from __future__ import annotations

import logging
import time
from typing import Any

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

    def run(self, limit_s: float) -> tuple[int, bool]:
        """Work for about so long; the number of blobs hashed or synced, and whether entries were dropped.

        Raises:
            StoreError: the index cannot be read or written.
        """
        end = time.monotonic() + limit_s
        looked_at = 0
        broken = dropped = 0
        self._save()  # or what our own links moved would look like foreign hands
        while time.monotonic() < end and (page := self._next_page()):
            for digest, boot, *state in page:
                try:
                    looked_at += self._make_durable(digest) if boot else self._look_again(digest, BlobState(*state))
                except BlobBrokenError:
                    broken += 1
                    dropped += len(drop_broken(self._index, self._blobs, digest))
                self._after = digest
                if time.monotonic() >= end:
                    break
        if broken:
            _log.warning(
                "blobs missing or altered: %d, dropped with as many entries as named them: %d", broken, dropped
            )
        self._save()
        self._index.checkpoint()
        return looked_at + broken, dropped > 0

    def _save(self) -> None:
        if self._blobs.unsaved_count:
            with self._index.transaction() as connection:
                self._blobs.save(connection)

    def _next_page(self) -> list[tuple[Any, ...]]:
        """Rows after the last one looked at; none at the end, and the next call starts anew."""
        page = self._index.rows(
            "SELECT digest, boot, size, mtime_ns, ctime_ns FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?",
            (self._after, _PAGE),
        )
        if not page:
            self._after = b""
        return page

    def _make_durable(self, digest: bytes) -> int:
        """Check a blob and fsync it, so that a power loss cannot take it any more; 1 if that worked."""
        with self._blobs.links:
            self._blobs.checked(digest)
        try:
            sync(self._blobs.path(digest))
        except OSError as error:
            _log.info("cannot sync a blob: %s", error)
            return 0
        with self._blobs.links:
            self._blobs.remember(digest, BlobState.of(self._blobs.checked(digest)), boot="")
        return 1

    def _look_again(self, digest: bytes, recorded: BlobState) -> int:
        """Hash a blob whose stat is neither what the index has nor what memory has; 1 if the index was behind."""
        with self._blobs.links:
            if BlobState.of(self._blobs.stat(digest)) == recorded:
                return 0
            self._blobs.checked(digest)
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
    return keys


def _is_right(blobs: Blobs, digest: bytes) -> bool:
    try:
        blobs.checked(digest)
    except BlobBrokenError:
        return False
    return True
