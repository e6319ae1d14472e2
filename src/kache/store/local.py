"""The store of one cache dir: what the engine, the daemon and the command line know of it."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from kache.core.entry import Artifact, Entry, Event, FileIdentity, InputMemo
from kache.core.unit import UnitFile, UnitSet
from kache.errors import BlobBrokenError, CacheDirError, StoreError
from kache.store import (
    audit,
    collect,
    event_log,
    file_digests,
    ready_copies,
    recording,
    restore,
    staging,
    unit_sets,
    verify,
)
from kache.store.audit import AuditReport
from kache.store.blobs import Blobs
from kache.store.build_records import BuildRecords
from kache.store.collect import GcReport
from kache.store.index import Index
from kache.store.lookup import Lookup
from kache.store.restore import Restored, RestoreHow, RestoreMethod
from kache.store.staging import Receiving, Staged
from kache.store.transfers import UploadQueue
from kache.store.unit_uploads import UnitUploads
from kache.util.filesystem import unsafe_kind

__all__ = [
    "BlobBrokenError",
    "GcReport",
    "LocalStore",
    "Receiving",
    "RestoreHow",
    "RestoreMethod",
    "Restored",
    "Staged",
]

_log = logging.getLogger("kache")

_UNSAVED_BLOBS = 4096
"""States of linked blobs that may wait in memory for the next write."""


class LocalStore:
    """Blobs below `{cache_dir}/store/blobs` and the index that says what they are; use `open`.

    Thread promise: any thread may call any method. Reads never wait for a write; writes wait for each other, within
    the process and between processes (at most 5 s).

    Every method raises a StoreError when the disk is full, read-only or gone, or the index is damaged; then nothing
    has changed, and builds go on without the cache.
    """

    def __init__(self, index: Index, blobs: Blobs) -> None:
        self._index = index
        self._blobs = blobs
        self._ready = ready_copies.ReadyCopies(blobs)
        self._lookup = Lookup(index)
        self._verifier = verify.Verifier(index, blobs)
        self.uploads = UploadQueue(index)
        self.unit_uploads = UnitUploads(index)
        self.records = BuildRecords(index)

    @classmethod
    def open(cls, cache_dir: Path, *, create: bool = True) -> LocalStore:
        """Open the store of a cache dir.

        Args:
            cache_dir: absolute path.
            create: make what is missing; start an empty index in place of a damaged one, which is kept aside as
                `index.db.corrupt-<n>`.

        Raises:
            CacheDirError: the directory is not ours, or cannot be made or written.
            StoreCorruptError: the index is damaged and `create` is false.
            StoreVersionError: a newer kache wrote the index.
            StoreError: anything else, such as a filesystem on which SQLite's WAL is unsafe.
        """
        root = cache_dir / "store"
        _prepare(cache_dir, root, create=create)
        index = Index.open(root / "index.db", create=create)
        try:
            blobs = Blobs(root, index)
            blobs.sweep()
        except OSError as error:
            index.close()
            raise CacheDirError(f"cannot use {root}", why=error.strerror or str(error)) from error
        return cls(index, blobs)

    def close(self) -> None:
        """Write what memory is ahead with, and close.

        The last one on the machine to close folds the write-ahead log into the database, with an fsync. A process that
        is about to end and in a hurry calls `flush` and `os._exit` instead: the next to open takes the log from there.
        """
        with contextlib.suppress(StoreError):
            self.flush()
        self._ready.drop()
        self._index.close()

    def flush(self) -> None:
        """Write the states of blobs that our own links moved; otherwise written with events and commits."""
        if self._blobs.unsaved_count:
            with self._index.transaction() as connection:
                self._blobs.save(connection)

    def entry_count(self) -> int:
        """Number of entries."""
        return int(self._index.rows("SELECT count(*) FROM entries")[0][0])

    def entry_keys(self) -> list[bytes]:
        """The keys of all entries, the last used first."""
        return [row[0] for row in self._index.rows("SELECT key FROM entries ORDER BY used_ns DESC, key")]

    def allocated_bytes(self) -> int:
        """Allocated bytes (st_blocks * 512) of all blobs: a running total, one row read."""
        row = self._index.one("SELECT value FROM meta WHERE name = 'allocated_bytes'")
        return int(row[0]) if row else 0

    # what a lookup asks for

    def memos(self, weak_key: bytes) -> list[InputMemo]:
        """The closures known under a weak key, the last used first; answers are kept in memory, empty ones too."""
        return self._lookup.memos(weak_key)

    def memo(self, weak_key: bytes, key: bytes) -> InputMemo | None:
        """The closure that leads to one entry."""
        return self._lookup.memo(weak_key, key)

    def entry(self, key: bytes) -> Entry | None:
        """The entry of a cache key; answers are kept in memory, None too."""
        return self._lookup.entry(key)

    def committed(self, key: bytes) -> tuple[Entry, InputMemo] | None:
        """An entry with its memo as the index has them now; memory learns of a commit a moment after it."""
        return self._lookup.committed(key)

    def links(self, digest: bytes) -> tuple[str, ...] | None:
        """`Entry.links` of an entry that has an artifact of this digest; None if no entry has."""
        return self._lookup.links(digest)

    def entry_of(self, digest: bytes) -> Entry | None:
        """An entry that has an artifact of this digest; None if no entry has."""
        return self._lookup.entry_of(digest)

    def expected_compile_s(self, crate_name: str, unit_kind: str) -> float | None:
        """Wall seconds the newest recorded compile of such a unit took; None if there is none."""
        row = self._index.one(
            "SELECT compile_ms FROM entries WHERE crate_name = ? AND unit_kind = ? ORDER BY created_ns DESC LIMIT 1",
            (crate_name, unit_kind),
        )
        return None if row is None else int(row[0]) / 1000

    def refresh(self) -> bool:
        """Ask whether another process has written to the index; if so, forget the answers it may have changed.

        Costs some 10 us when nothing moved. To be asked before a miss is declared.

        Raises:
            StoreError: the index was removed under us (`rm -rf` of the cache dir): close this store and open it again.
        """
        if not self._index.moved():
            return False
        self._lookup.forget()
        return True

    # a compile recorded

    def stage(self, path: bytes, *, share: bool, needles: Sequence[bytes] = ()) -> Staged:
        """Take an output of a compile in, to be committed or discarded.

        Args:
            path: the file; its writer has ended.
            share: nothing writes such a file in place (rlib, rmeta): a reflink, else a hardlink of the file itself,
                else a copy. Otherwise a reflink, else a copy.
            needles: byte strings to look for in the content, in the same pass (paths that got into an executable).

        Raises:
            FileNotFoundError: there is no such file.
            OutputChangedError: it was written to while we read it.
            StoreError: it cannot be read, linked or copied.
        """
        return staging.stage(self._blobs, path, share=share, needles=needles)

    def receive(self, digest: bytes, size: int, *, share: bool, date_ns: int | None = None) -> Receiving:
        """Take a blob in that comes from elsewhere, piece by piece; `share` as for `stage`, dated as asked or now.

        Raises:
            StoreError: it cannot be written.
        """
        return Receiving(self._blobs, digest, size, share=share, date_ns=date_ns)

    def open_blob(self, digest: bytes) -> int:
        """A blob opened for reading; its content is not checked.

        Raises:
            BlobBrokenError: it is missing.
        """
        try:
            return os.open(self._blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError as error:
            raise BlobBrokenError(digest) from error

    def has_blob(self, digest: bytes) -> bool:
        """Whether a blob is stored and right."""
        try:
            self._blobs.checked(digest)
        except BlobBrokenError:
            return False
        return True

    def temp(self) -> bytes:
        """A name for a temporary file, removed after a crash."""
        return self._blobs.temp()

    def discard(self, staged: Staged) -> None:
        """Forget a staged file."""
        recording.drop(staged)

    def commit(self, entry: Entry, memo: InputMemo, staged: Sequence[Staged], *, send_to: str = "") -> None:
        """Record an entry with its memo; all or nothing. The staged files are used up, also when it fails.

        With `send_to` (URL of a remote) the entry is queued for its upload, in the same transaction.

        An entry or memo of the same key is replaced; a blob that is stored already and still right stays as it is.
        `identity` of the staged files is renewed: the rename moved the live file's ctime.

        Raises:
            StoreError: it cannot be written, or an artifact was neither staged nor stored.
        """
        recording.commit(self._index, self._blobs, entry, memo, staged, send_to=send_to)
        self._lookup.learn(entry, memo.weak_key)

    # an entry served

    def restore(self, artifact: Artifact, target: bytes, *, mode: int, how: RestoreHow) -> Restored:
        """Put an artifact at a path, as a new inode there: what exists is replaced, never written through.

        Args:
            artifact: of an entry.
            target: path in a directory that exists; never seen there with partial content.
            mode: permission bits, umask applied.
            how: SHARED: a reflink, else a hardlink of the blob, else (other mode or device, too many links) a copy;
                with the blob's old date. PRIVATE: a reflink, else a copy, dated now by the kernel.

        Raises:
            BlobBrokenError: the blob is missing or altered; it is gone now, with every entry that named it.
            StoreError: the target cannot be written.
        """
        try:
            restored = restore.restore(self._blobs, self._ready, artifact.digest, target, mode=mode, how=how)
        except BlobBrokenError:
            self._drop(artifact.digest)
            raise
        if self._blobs.unsaved_count > _UNSAVED_BLOBS:
            self.flush()
        return restored

    def _drop(self, digest: bytes) -> None:
        # Also an entry that another process has replaced: only our memory still has it name this blob.
        self._lookup.forget()
        try:
            keys = verify.drop_broken(self._index, self._blobs, digest)
        except StoreError as error:  # a miss all the same
            _log.warning("blob %s is missing or altered, and cannot be dropped: %s", digest.hex()[:16], error.why)
            return
        _log.warning("blob %s was missing or altered: dropped, entries: %d", digest.hex()[:16], len(keys))

    def is_checked(self, digest: bytes) -> bool:
        """Whether a blob is as it was when its content was last known to be right: nothing has to be hashed."""
        return self._blobs.is_checked(digest)

    def watch_writes(self) -> None:
        """Have the kernel tell of writes to linked blobs, so that a name less is no reason to hash one again.

        For a process that lives long: it takes 1 ms, and open watches.
        """
        self._blobs.watch_writes()

    def check_blob(self, digest: bytes) -> None:
        """Look at a blob now, so that a restore need not: one that other hands touched is hashed.

        What is found broken is left to the restore that needs it.
        """
        with contextlib.suppress(StoreError, OSError):
            self._blobs.checked(digest)

    def is_large(self, file: Artifact | UnitFile) -> bool:
        """Whether a private copy takes so long that one made beforehand is worth it."""
        return file.size >= ready_copies.MIN_BYTES

    def prepare_copy(self, digest: bytes) -> None:
        """Make a private copy of a large blob now, so that a restore need not."""
        with contextlib.suppress(StoreError, OSError):
            self._ready.make(digest)

    def drop_copies(self) -> None:
        """Give up the prepared copies that nobody took."""
        self._ready.drop()

    def is_blob(self, digest: bytes, found: os.stat_result) -> bool:
        """Whether a file is a name of a blob, which is as it should be.

        Raises:
            BlobBrokenError: the blob is missing or altered.
        """
        checked = self._blobs.checked(digest)
        return (checked.st_dev, checked.st_ino) == (found.st_dev, found.st_ino)

    def blob_date_ns(self, digest: bytes) -> int:
        """When the content of a blob was made: the date of the file it was taken from, ns since the Unix epoch.

        Raises:
            BlobBrokenError: it is missing or altered.
        """
        return self._blobs.checked(digest).st_mtime_ns

    def add_events(self, events: Sequence[Event]) -> None:
        """Write events, their builds and the use of the entries they name; one transaction."""
        if events or self._blobs.unsaved_count:
            with self._index.transaction() as connection:
                event_log.add(connection, events)
                self._blobs.save(connection)

    # warm start

    def unit_set(self, workspace: bytes, profile: str, toolchain: bytes) -> UnitSet:
        """What builds of a workspace with a toolchain left in a profile; without units where that is not known."""
        rows = self._index.rows(unit_sets.ONE, (unit_sets.name_of(workspace, profile, toolchain),))
        return next(iter(unit_sets.decode(rows)), UnitSet(workspace, profile, toolchain, ()))

    def other_unit_sets(self, workspace: bytes, toolchain: bytes, profile: str, limit: int) -> list[UnitSet]:
        """What builds of other workspaces left in a profile, out of so many sets written last."""
        rows = self._index.rows(unit_sets.OF_OTHERS, (workspace, toolchain, limit))
        return [each for each in unit_sets.decode(rows) if each.profile == profile]

    def save_unit_set(self, unit_set: UnitSet) -> None:
        """Keep what a build left, in place of what the one before it left."""
        with self._index.transaction() as connection:
            unit_sets.save(connection, unit_set, time.time_ns())

    # stat memo

    def load_file_digests(self, limit: int = file_digests.MAX_ROWS) -> dict[FileIdentity, bytes]:
        """The stat memo as saved: the newest `limit` rows or a few more (some 400 bytes of memory each)."""
        return {file_digests.identity_of(row): row[5] for row in self._index.rows(file_digests.LOAD, (limit - 1,))}

    def file_digest(self, identity: FileIdentity) -> bytes | None:
        """One row of the stat memo, for those who would rather not load them all."""
        row = self._index.one(file_digests.FIND, file_digests.find_values(identity))
        return row[0] if row else None

    def save_file_digests(self, rows: Mapping[FileIdentity, bytes]) -> None:
        """Add rows to the stat memo; a file's (device, inode) former row is replaced."""
        with self._index.transaction() as connection:
            file_digests.save(connection, rows)

    # upkeep

    def gc(self, budget_bytes: int, *, max_age_s: float | None = None, dry_run: bool = False) -> GcReport:
        """Evict entries until the blobs fit a budget, and remove what crashes left.

        Entries that a living build has used since it started stay, as far as events say so: write them first.

        Args:
            budget_bytes: of allocated bytes.
            max_age_s: also evict what was not used for so long.
            dry_run: only say what would go.
        """
        report = collect.gc(self._index, self._blobs, budget_bytes, max_age_s=max_age_s, dry_run=dry_run)
        if report.evicted_entries and not dry_run:
            self._lookup.forget()
        return report

    def purge(self, crate_name: str | None = None) -> GcReport:
        """Delete every entry, or those of one crate (rustc's name of it)."""
        report = collect.purge(self._index, self._blobs, crate_name)
        self._lookup.forget()
        return report

    def verify_changed(self, limit_s: float) -> int:
        """Idle work of about so long: fsync new blobs, hash those that others touched, drop broken ones.

        Returns:
            The number of blobs looked at; 0 means there is nothing to do for now: all were looked at not long ago, and
            none was stored since.
        """
        count, dropped = self._verifier.run(limit_s)
        if dropped:
            self._lookup.forget()
        return count

    def audit(self, *, checksums: bool, repair: bool, progress: Callable[[int, int], None]) -> AuditReport:
        """Look at every blob, for `kache doctor --verify`.

        Args:
            checksums: read and hash every blob; else only those whose stat moved.
            repair: drop what is broken, with the entries that name it, and files no row names.
            progress: told after each blob how many are done, and of how many.
        """
        return audit.audit(self._index, self._blobs, checksums=checksums, repair=repair, progress=progress)


def _prepare(cache_dir: Path, root: Path, *, create: bool) -> None:
    """Make or check the directories."""
    try:
        if create:
            cache_dir.parent.mkdir(parents=True, exist_ok=True)
            cache_dir.mkdir(mode=0o700, exist_ok=True)
        owner = cache_dir.stat().st_uid
        if owner != os.geteuid():
            why = f"it belongs to uid {owner}, we are {os.geteuid()}: its files cannot be trusted"
            raise CacheDirError(f"{cache_dir} is not ours", why=why)
        kind = unsafe_kind(cache_dir)
        if kind:
            why = f"{kind} gives SQLite's WAL no shared memory: two writers can damage the index"
            raise CacheDirError(f"{cache_dir} is on {kind}", why=why, fix="set KACHE_CACHE_DIR to a local disk")
        if create:
            for directory in (root, root / "blobs", root / "tmp"):
                directory.mkdir(mode=0o700, exist_ok=True)
            if not os.access(root / "tmp", os.W_OK | os.X_OK):
                raise CacheDirError(f"cannot write to {root}", why="it is read-only")
    except FileNotFoundError as error:
        raise StoreError(f"there is no store in {cache_dir}") from error
    except OSError as error:
        raise CacheDirError(f"cannot use {cache_dir}", why=error.strerror or str(error)) from error
