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
    """Walks the blobs of a store, a little at each call, and rests between two walks.

    Args:
        index: of the store.
        blobs: of the store.
        rest_s: from the end of a walk to the next, unless blobs were stored meanwhile: a daemon that has nothing to do
            should not keep a CPU awake.
    """

    def __init__(self, index: Index, blobs: Blobs, rest_s: float = 600.0) -> None:
        self._index = index
        self._blobs = blobs
        self._after = b""
        self.rest_s = rest_s
        self._rest_until = 0.0
        self._placed_before = -1

    def run(self, limit_s: float) -> tuple[int, bool]:
        """Work for about so long; the number of blobs looked at, and whether entries were dropped.

        Raises:
            StoreError: the index cannot be read or written.
        """
        now = time.monotonic()
        if now < self._rest_until and self._blobs.placed_count == self._placed_before:
            return 0, False
        self._rest_until = 0.0
        end = now + limit_s
        looked_at = broken = dropped = 0
        self._save()  # or what our own links moved would look like foreign hands
        # At least one blob a call, so that calls with however little time get to the end.
        while (now < end or not looked_at) and (page := self._next_page(now)):
            for digest, boot, *state in page:
                try:
                    self._look_at(digest, boot, BlobState(*state))
                except BlobBrokenError:
                    broken += 1
                    dropped += len(drop_broken(self._index, self._blobs, digest))
                looked_at += 1
                self._after = digest
                now = time.monotonic()
                if now >= end:
                    break
        if broken:
            _log.warning(
                "blobs missing or altered: %d, dropped with as many entries as named them: %d", broken, dropped
            )
        self._save()
        self._index.checkpoint()
        return looked_at, dropped > 0

    def _next_page(self, now: float) -> list[tuple[Any, ...]]:
        """Rows after the last one looked at; none at the end of a walk."""
        if not self._after:
            self._placed_before = self._blobs.placed_count
        page = self._index.rows(
            "SELECT digest, boot, size, mtime_ns, ctime_ns FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?",
            (self._after, _PAGE),
        )
        if not page:
            self._after = b""
            self._rest_until = now + self.rest_s
        return page

    def _look_at(self, digest: bytes, boot: str, recorded: BlobState) -> None:
        with self._blobs.links:
            if not boot and BlobState.of(self._blobs.stat(digest)) == recorded:
                return
            self._blobs.checked(digest)
        if not boot:
            return
        try:
            sync(self._blobs.path(digest))
        except OSError as error:
            _log.info("cannot sync a blob: %s", error)
            return
        with self._blobs.links:
            # A power loss cannot take it any more.
            self._blobs.remember(digest, BlobState.of(self._blobs.checked(digest)), boot="")

    def _save(self) -> None:
        if self._blobs.unsaved_count:
            with self._index.transaction() as connection:
                self._blobs.save(connection)


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
