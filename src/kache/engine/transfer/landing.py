"""A pack on its way into the store: each blob under a temporary name until all of it was found right."""

from __future__ import annotations

import threading
from collections.abc import Callable

from kache.core.digest import Digest
from kache.core.entry import Entry, InputMemo, Role
from kache.core.unit import RUN_KIND, run_key
from kache.engine.record import cache_key
from kache.errors import BlobBrokenError, RemoteObjectError
from kache.remote.backend import Range
from kache.remote.documents import EntryManifest, Member
from kache.remote.pack import BlobFile, Packed, Unpacker
from kache.store.local import LocalStore, Receiving, Staged

_SHAREABLE = (Role.RLIB, Role.RMETA)


def unpacker(manifest: EntryManifest, begin: Callable[[Member], BlobFile]) -> Unpacker:
    """What takes the bytes of a manifest's pack, or of its part of one."""
    part = manifest.part
    if part is None:
        return Unpacker(manifest.members, Packed(manifest.pack, manifest.pack_bytes), begin)
    return Unpacker(manifest.members, Packed(part.digest, part.size), begin, is_part=True)


def range_of(manifest: EntryManifest) -> Range | None:
    """Which stretch of its pack to ask for; None for all of it."""
    return None if manifest.part is None else Range(manifest.part.offset, manifest.part.size)


def demand_keys(manifest: EntryManifest, key: Digest) -> None:
    """A manifest must be that of the key it was asked for by, and its key follow from its inputs.

    Raises:
        RemoteObjectError: it is another entry's.
    """
    entry = manifest.entry
    is_run = entry.unit_kind == RUN_KIND and entry.weak_key == entry.key and not manifest.inputs
    own = run_key([each.digest for each in entry.artifacts]) if is_run else cache_key(entry.weak_key, manifest.inputs)
    if entry.key != key or own != key:
        raise RemoteObjectError(f"the manifest of {entry.crate_name} has keys that are not its own")


class Landing:
    """Takes the bytes of one entry's pack, or of its part of one.

    Its methods block: they belong into a worker thread, one at a time.

    Args:
        store: where the blobs go.
        manifest: what must come.
        entry: whose artifacts they are.
        date_ns: what its blobs are dated; None for now.
    """

    def __init__(self, store: LocalStore, manifest: EntryManifest, entry: Entry, *, date_ns: int | None = None) -> None:
        self._store = store
        self._date_ns = date_ns
        self._shared = {artifact.digest for artifact in entry.artifacts if artifact.role in _SHAREABLE}
        self._blobs: list[Receiving] = []
        self._lock = threading.Lock()
        self._dropped = False
        self._unpacker = unpacker(manifest, self._begin)

    def _begin(self, member: Member) -> Receiving:
        blob = self._store.receive(
            member.digest, member.size, share=member.digest in self._shared, date_ns=self._date_ns
        )
        self._blobs.append(blob)
        return blob

    def feed(self, piece: bytes) -> None:
        """Take the next bytes.

        Raises:
            RemoteObjectError: this is not the pack that was signed.
            StoreError: the disk is full, for example.
        """
        with self._lock:
            if not self._dropped:
                self._unpacker.feed(piece)

    def commit(self, entry: Entry, memo: InputMemo) -> None:
        """Nothing more comes: store it.

        Raises:
            RemoteObjectError: something is missing or not what it must be.
            StoreError: it cannot be stored.
        """
        with self._lock:
            if self._dropped:
                return
            self._unpacker.finish()
            staged: list[Staged] = []
            try:
                for blob in self._blobs:
                    staged.append(blob.finish())  # noqa: PERF401 - what came before an error has to be dropped
                self._store.commit(entry, memo, staged)
            except BlobBrokenError as error:
                raise RemoteObjectError(f"blob {error.digest.hex()[:16]} of a pack was altered") from error
            finally:
                for item in staged:
                    self._store.discard(item)

    def drop(self) -> None:
        """Forget it; waits for the piece that is just being taken."""
        with self._lock:
            self._dropped = True
            for blob in self._blobs:
                blob.drop()
