"""What one request reads of a pack, and how each entry in it gets its own bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

from kache.core.digest import Digest
from kache.core.entry import InputMemo
from kache.engine.transfer.landing import Landing
from kache.errors import RemoteObjectError
from kache.remote.backend import Range
from kache.remote.documents import EntryManifest
from kache.store.local import LocalStore

STRETCH_BYTES = 8 << 20
"""Read by one request: packs are longer, so that one pack alone comes in parallel as well."""
_GAP_BYTES = 128 << 10
"""What is not wanted between two parts costs less to read than another request."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one request reads of a pack.

    Attributes:
        pack: which.
        place: of it; None for all.
        manifests: whose parts are in it, in its order.
    """

    pack: Digest
    place: Range | None
    manifests: tuple[EntryManifest, ...]


def stretches(manifests: Iterable[EntryManifest]) -> list[Stretch]:
    """Cut what is wanted into requests: packs in the order in which they are needed, each from its start on. Pure."""
    by_pack: dict[Digest, list[EntryManifest]] = {}
    for manifest in manifests:
        by_pack.setdefault(manifest.pack, []).append(manifest)
    found: list[Stretch] = []
    for pack, wanted in by_pack.items():
        whole = [manifest for manifest in wanted if manifest.part is None]
        found += [Stretch(pack, None, (manifest,)) for manifest in whole]
        parts = [(manifest.part, manifest) for manifest in wanted if manifest.part is not None]
        parts.sort(key=lambda each: each[0].offset)
        held: list[EntryManifest] = []
        start = end = 0
        for part, manifest in parts:
            if held and (part.offset - end > _GAP_BYTES or part.offset + part.size - start > STRETCH_BYTES):
                found.append(Stretch(pack, Range(start, end - start), tuple(held)))
                held = []
            if not held:
                start = part.offset
            held.append(manifest)
            end = max(end, part.offset + part.size) if len(held) > 1 else part.offset + part.size
        if held:
            found.append(Stretch(pack, Range(start, end - start), tuple(held)))
    return found


class Reel:
    """Takes the bytes of a stretch, and gives each entry its own. Its methods block; one thread at a time.

    Args:
        store: where entries go.
        stretch: what comes.
        date_ns: what the blobs are dated; None for now.
    """

    def __init__(self, store: LocalStore, stretch: Stretch, date_ns: int | None = None) -> None:
        self._date_ns = date_ns
        self._store = store
        self._waiting = list(reversed(stretch.manifests))
        self._at = 0 if stretch.place is None else stretch.place.start
        self._landing: Landing | None = None
        self._broken: RemoteObjectError | None = None
        self._left = 0
        self._lock = threading.Lock()

    def left(self) -> list[EntryManifest]:
        """Those that have not come whole."""
        return list(self._waiting)

    def feed(self, data: bytes) -> list[tuple[EntryManifest, RemoteObjectError | None]]:
        """Take the next bytes.

        Returns:
            The entries that are complete now: stored, or what is wrong with them.

        Raises:
            StoreError: the disk is full, for example.
        """
        with self._lock:
            return self._feed(memoryview(data))

    def _feed(self, view: memoryview) -> list[tuple[EntryManifest, RemoteObjectError | None]]:
        done: list[tuple[EntryManifest, RemoteObjectError | None]] = []
        while view and self._waiting:
            manifest = self._waiting[-1]
            if self._landing is None:
                skipped = 0 if manifest.part is None else manifest.part.offset - self._at
                if skipped < 0:  # two manifests that claim the same bytes
                    done.append((self._waiting.pop(), RemoteObjectError("a manifest's part overlaps another's")))
                    continue
                if skipped >= len(view):
                    self._at += len(view)
                    break
                view, self._at = view[skipped:], self._at + skipped
                self._landing = Landing(self._store, manifest, manifest.entry, date_ns=self._date_ns)
                self._left = manifest.wire_bytes
                self._broken = None
            piece, view = view[: self._left], view[self._left :]
            self._at += len(piece)
            self._left -= len(piece)
            self._take(bytes(piece))
            if not self._left:
                done.append((self._waiting.pop(), self._end(manifest)))
        return done

    def _take(self, piece: bytes) -> None:
        assert self._landing is not None
        if self._broken is None:
            try:
                self._landing.feed(piece)
            except RemoteObjectError as error:
                self._broken = error

    def _end(self, manifest: EntryManifest) -> RemoteObjectError | None:
        landing, self._landing = self._landing, None
        assert landing is not None
        entry = manifest.entry
        try:
            if self._broken is None:
                landing.commit(entry, InputMemo(entry.weak_key, entry.key, manifest.inputs))
        except RemoteObjectError as error:
            self._broken = error
        finally:
            landing.drop()
        return self._broken

    def drop(self) -> None:
        """Forget what has not come whole, and take nothing more; waits for the bytes that are just being taken."""
        with self._lock:
            self._waiting.clear()
            if self._landing is not None:
                self._landing.drop()
                self._landing = None
