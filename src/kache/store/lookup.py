"""Answers to the questions of a lookup, kept in memory within bounds; the index is asked once."""

from __future__ import annotations

import threading
from typing import Final

from kache.core.entry import Entry, InputMemo
from kache.store import entries, memos
from kache.store.index import Index
from kache.store.memos import Inputs
from kache.util.lru import Lru

_MEMO_WEIGHT: Final = 150_000
"""Inputs held, at some 190 bytes each: those of 5,000 units of 30 files."""
_LIST_WEIGHT: Final = 20_000
"""Inputs held in lists that several memos share."""
_ENTRY_WEIGHT: Final = 24_000_000
"""Bytes of entries held: 5,000 at some 4 KB."""
_LINKS_WEIGHT: Final = 100_000
"""Stems held."""
_MISSES: Final = 50_000
"""Negative answers held."""


class Lookup:
    """Memos and entries of one index, read once."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._memos: Lru[bytes, list[InputMemo]] = Lru(_MEMO_WEIGHT)
        self._inputs: Lru[bytes, Inputs] = Lru(_LIST_WEIGHT)
        self._entries: Lru[bytes, Entry] = Lru(_ENTRY_WEIGHT)
        self._no_entry: Lru[bytes, bool] = Lru(_MISSES)
        self._links: Lru[bytes, tuple[str, ...]] = Lru(_LINKS_WEIGHT)
        self._changes = 0
        self._lock = threading.Lock()

    def memos(self, weak_key: bytes) -> list[InputMemo]:
        """See `LocalStore.memos`."""
        found = self._memos.get(weak_key)
        if found is None:
            changes = self._changes
            found = self._stored_memos(weak_key)
            weight = 1 + sum(1 + len(memo.inputs) for memo in found)
            with self._lock:
                # A worker may have committed another one since the rows were read.
                if changes == self._changes:
                    self._memos.put(weak_key, found, weight)
        return found

    def memo(self, weak_key: bytes, key: bytes) -> InputMemo | None:
        """See `LocalStore.memo`."""
        return _leading_to(key, self.memos(weak_key))

    def entry(self, key: bytes) -> Entry | None:
        """See `LocalStore.entry`."""
        found = self._entries.get(key)
        if found is None and not self._no_entry.get(key):
            changes = self._changes
            found = self._stored_entry(key)
            with self._lock:
                if changes != self._changes:
                    return found
                if found is not None:
                    self._hold(found)
                else:
                    self._no_entry.put(key, True)  # noqa: FBT003
        return found

    def committed(self, key: bytes) -> tuple[Entry, InputMemo] | None:
        """See `LocalStore.committed`."""
        entry = self._stored_entry(key)
        if entry is None:
            return None
        memo = _leading_to(key, self._stored_memos(entry.weak_key))
        return None if memo is None else (entry, memo)

    def links(self, digest: bytes) -> tuple[str, ...] | None:
        """See `LocalStore.links`."""
        found = self._links.get(digest)
        if found is None:
            entry = self.entry_of(digest)
            if entry is None:
                return None
            found = entry.links
            self._links.put(digest, found, 1 + len(found))
        return found

    def entry_of(self, digest: bytes) -> Entry | None:
        """See `LocalStore.entry_of`."""
        row = self._index.one("SELECT key FROM entry_blobs WHERE digest = ? LIMIT 1", (digest,))
        return self.entry(row[0]) if row else None

    def learn(self, entry: Entry, weak_key: bytes) -> None:
        """Take in what was just committed."""
        with self._lock:
            self._changes += 1
            self._no_entry.drop(entry.key)
            self._memos.drop(weak_key)
            self._hold(entry)

    def forget(self) -> None:
        """Forget everything: another process wrote, or entries went."""
        with self._lock:
            self._changes += 1
            for cache in (self._memos, self._inputs, self._entries, self._no_entry, self._links):
                cache.clear()

    def _stored_memos(self, weak_key: bytes) -> list[InputMemo]:
        # Lists by their hashes: ids come again after others were deleted, and another process may delete. One that is
        # gone has an empty hash, which no list has: a memo without it would match too much.
        rows = self._index.rows(
            "SELECT key, CASE WHEN files_id NOT NULL THEN coalesce(files.hash, x'') END,"
            " CASE WHEN rest_id NOT NULL THEN coalesce(rest.hash, x'') END, layout FROM memos"
            " LEFT JOIN inputs AS files ON files.id = files_id LEFT JOIN inputs AS rest ON rest.id = rest_id"
            " WHERE weak_key = ? ORDER BY used_ns DESC, key",
            (weak_key,),
        )
        return memos.rebuild(weak_key, rows, self._inputs_of)

    def _stored_entry(self, key: bytes) -> Entry | None:
        row = self._index.one("SELECT body FROM entries WHERE key = ?", (key,))
        found = entries.decode(row[0]) if row else None
        return found if found is not None and found.key == key else None

    def _hold(self, entry: Entry) -> None:
        texts = len(entry.dep_info) + len(entry.stdout) + len(entry.stderr)
        self._entries.put(entry.key, entry, 1_000 + texts + 300 * len(entry.artifacts) + 80 * len(entry.links))
        for artifact in entry.artifacts:
            self._links.put(artifact.digest, entry.links, 1 + len(entry.links))

    def _inputs_of(self, mark: bytes | None) -> Inputs:
        if mark is None:
            return ()
        found = self._inputs.get(mark)
        if found is None:
            row = self._index.one("SELECT body FROM inputs WHERE hash = ?", (mark,))
            if row is None:
                raise ValueError("a list of inputs is gone")
            found = memos.decode_inputs(row[0])
            self._inputs.put(mark, found, 1 + len(found))
        return found


def _leading_to(key: bytes, known: list[InputMemo]) -> InputMemo | None:
    return next((memo for memo in known if memo.key == key), None)
