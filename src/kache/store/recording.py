"""The commit of a compile: its blobs put in place, then everything that names them in one transaction."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence

from kache.core.entry import Entry, InputMemo
from kache.errors import BlobBrokenError, StoreError
from kache.store import entries, memos, transfers
from kache.store.blobs import Blobs, BlobState
from kache.store.index import Index
from kache.store.staging import Staged

_BATCH = 500
"""Files removed under one lock: some 20 ms."""


def commit(
    index: Index, blobs: Blobs, entry: Entry, memo: InputMemo, staged: Sequence[Staged], *, send_to: str = ""
) -> None:
    """Record an entry; see `LocalStore.commit`.

    The renames happen inside the transaction, under SQLite's write lock: nobody else can be placing or removing the
    same blob. A row is written only once its blob is there, so a crash at any point leaves at worst a file without one.

    Raises:
        StoreError: the disk is full or read-only, or an artifact was neither staged nor stored. Nothing has changed.
    """
    placed: list[bytes] = []
    allocated = 0
    now_ns = time.time_ns()
    try:
        with index.transaction() as connection, blobs.links:
            for item in staged:
                if not _is_stored(blobs, item.digest):
                    placed.append(item.digest)
                    allocated += _place(connection, blobs, item)
            entries.add_allocated(connection, allocated)
            _demand_all(connection, entry)
            entries.save(connection, entry, now_ns)
            memos.save(connection, memo, now_ns)
            if send_to:
                transfers.add(connection, send_to, entry.key, now_ns)
    except BaseException as error:
        if placed:
            with contextlib.suppress(StoreError):
                remove_unreferenced(index, blobs, placed)
        if isinstance(error, OSError):
            raise StoreError("cannot store a compile", why=error.strerror or str(error)) from error
        raise
    finally:
        for item in staged:
            drop(item)


def drop(item: Staged) -> None:
    """Remove the temporary file if it is still there, and stat the live file again.

    After a rename it is still there if it and the blob were one inode already: rename() then does nothing.
    """
    if item.temp:
        with contextlib.suppress(OSError):
            os.unlink(item.temp)
        item.temp = b""
    item.renew_identity()


def remove_unreferenced(index: Index, blobs: Blobs, digests: Iterable[bytes]) -> int:
    """Remove the files of those blobs that have no row; the bytes they took.

    Under the write lock, so that none of them is being placed just now. The rows went in an earlier transaction: were
    it this one, a crash before its end would leave rows without files.

    Raises:
        StoreError: the index cannot be locked.
    """
    freed = 0
    waiting = list(digests)
    for start in range(0, len(waiting), _BATCH):
        with index.transaction() as connection, blobs.links:
            for digest in waiting[start : start + _BATCH]:
                if connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (digest,)).fetchone() is None:
                    blobs.forget(digest)
                    freed += remove_file(blobs.path(digest))
    return freed


def remove_file(path: bytes) -> int:
    """Remove a file; the bytes it took, 0 if there was none."""
    try:
        allocated = os.lstat(path).st_blocks * 512
        os.unlink(path)
    except OSError:
        return 0
    return allocated


def _is_stored(blobs: Blobs, digest: bytes) -> bool:
    try:
        blobs.checked(digest)
    except BlobBrokenError:
        return False
    return True


def _place(connection: sqlite3.Connection, blobs: Blobs, item: Staged) -> int:
    """Rename a staged file to be the blob, and write the blob's row; by how many allocated bytes the store grew."""
    found = blobs.place(item.temp, item.digest)
    state, allocated = BlobState.of(found), found.st_blocks * 512
    before = connection.execute("SELECT allocated FROM blobs WHERE digest = ?", (item.digest,)).fetchone()
    connection.execute(
        "INSERT OR REPLACE INTO blobs(digest, size, mtime_ns, ctime_ns, allocated, boot) VALUES (?, ?, ?, ?, ?, ?)",
        (item.digest, *state, allocated, blobs.boot_of_new(blobs.path(item.digest))),
    )
    blobs.remember(item.digest, state, saved=True)
    return allocated - (int(before[0]) if before else 0)


def _demand_all(connection: sqlite3.Connection, entry: Entry) -> None:
    for artifact in entry.artifacts:
        if connection.execute("SELECT 1 FROM blobs WHERE digest = ?", (artifact.digest,)).fetchone() is None:
            raise StoreError(f"cannot store {entry.crate_name}", why=f"{artifact.name} was not staged")
