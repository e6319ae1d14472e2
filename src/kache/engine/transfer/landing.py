"""A pack on its way into the store: each blob under a temporary name until all of it was found right."""

from __future__ import annotations

import threading

from kache.core.entry import Entry, InputMemo, Role
from kache.errors import BlobBrokenError, RemoteObjectError
from kache.remote.documents import EntryManifest, Member
from kache.remote.pack import Packed, Unpacker
from kache.store.local import LocalStore, Receiving, Staged

_SHAREABLE = (Role.RLIB, Role.RMETA)


class Landing:
    """Takes the bytes of one pack. Its methods block: they belong into a worker thread, one at a time.

    Args:
        store: where the blobs go.
        manifest: what must come.
        entry: whose artifacts they are.
    """

    def __init__(self, store: LocalStore, manifest: EntryManifest, entry: Entry) -> None:
        self._store = store
        self._shared = {artifact.digest for artifact in entry.artifacts if artifact.role in _SHAREABLE}
        self._blobs: list[Receiving] = []
        self._lock = threading.Lock()
        self._dropped = False
        self._unpacker = Unpacker(manifest.members, Packed(manifest.pack, manifest.pack_bytes), self._begin)

    def _begin(self, member: Member) -> Receiving:
        blob = self._store.receive(member.digest, member.size, share=member.digest in self._shared)
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
