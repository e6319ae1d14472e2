"""Blobs on disk, and how the store knows that one still holds what it held.

A blob may be the very inode of a file in some target dir, so others can change it. What stat said when its content was
last known good (size, mtime, ctime) is kept in the index; our own links and unlinks move ctime and are recorded again,
in memory at once and in the index with the next write. Whatever else moves it leads to a new hash before it is served.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import threading
import time
from pathlib import Path
from typing import NamedTuple

from kache.errors import BlobBrokenError
from kache.store import hashing
from kache.store.index import Index
from kache.store.write_watch import MIN_BYTES, WriteWatch
from kache.util import processes
from kache.util.lru import Lru

_log = logging.getLogger("kache")

_KNOWN_BLOBS = 32_768
"""Blobs whose state is held in memory: 8 MB; a warm build of 5,000 units asks for some 15,000."""
_STALE_S = 86_400.0


class BlobState(NamedTuple):
    """What stat says of a blob whose content is known to be right."""

    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, found: os.stat_result) -> BlobState:
        """Take it from a stat result."""
        return cls(found.st_size, found.st_mtime_ns, found.st_ctime_ns)


class Blobs:
    """The blobs of one store.

    Args:
        root: the store's directory.
        index: where their states are kept.

    Attributes:
        device: st_dev of the blobs.
        boot: id of this boot: the mark of blobs that a power loss may still take.
        placed_count: blobs placed by this process.
        links: held from the check of a blob until the ctime our own link moved is recorded, so that two threads do
            not take each other's link for a foreign change.
    """

    def __init__(self, root: Path, index: Index) -> None:
        self._root = os.fsencode(root)
        self._index = index
        self._known: Lru[bytes, BlobState] = Lru(_KNOWN_BLOBS)
        self._unsaved: dict[bytes, tuple[BlobState, str | None]] = {}
        self._unsaved_lock = threading.Lock()
        self._counter = itertools.count()
        self._owner = b""
        self.boot = processes.boot_id()
        self.device = os.stat(self.directory).st_dev
        self.placed_count = 0
        self.links = threading.RLock()
        self._watch: WriteWatch | None = None

    def watch_writes(self) -> None:
        """Have the kernel tell of writes to shared blobs; for a process that lives long."""
        self._watch = WriteWatch.start(self.directory)

    def path(self, digest: bytes) -> bytes:
        """Where a blob is, there or not."""
        name = digest.hex()
        return b"%b/blobs/%b/%b" % (self._root, name[:2].encode(), name.encode())

    @property
    def directory(self) -> bytes:
        """The directory that holds the 256 directories of blobs."""
        return self._root + b"/blobs"

    def temp(self) -> bytes:
        """A name for a new file that is not a blob yet; it says whose it is, so that leftovers can be told."""
        if not self._owner:
            self._owner = _owner(os.getpid(), processes.start_ticks(os.getpid()) or 0)
        return b"%b/tmp/%b-%d" % (self._root, self._owner, next(self._counter))

    def sweep(self) -> int:
        """Remove temporary files of processes that ended, and any older than a day; number removed."""
        removed = 0
        with os.scandir(self._root + b"/tmp") as found:
            for item in found:
                with contextlib.suppress(OSError):
                    if _is_leftover(item):
                        os.unlink(item.path)
                        removed += 1
        return removed

    def place(self, temp: bytes, digest: bytes) -> os.stat_result:
        """Make a temporary file the blob of its digest; its stat, as the rename left it.

        Raises:
            OSError: it cannot be put there.
        """
        target = self.path(digest)
        try:
            os.rename(temp, target)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
            os.rename(temp, target)
        self.placed_count += 1
        return os.lstat(target)

    def boot_of_new(self, path: bytes) -> str:
        """The `boot` column of a blob just placed: it is on disk for sure only after an fsync.

        Where boots cannot be told apart that is due at once; else it waits for an idle hour.

        Raises:
            OSError: fsync failed.
        """
        if not self.boot:
            sync(path)
        return self.boot

    def remember(self, digest: bytes, state: BlobState, *, saved: bool = False, boot: str | None = None) -> None:
        """Take a state as that of the right content.

        Args:
            digest: of the blob.
            state: what stat says now.
            saved: the index has it already.
            boot: new value of the index's column, None to leave it.
        """
        self._known.put(digest, state)
        with self._unsaved_lock:
            if saved:
                self._unsaved.pop(digest, None)
            else:
                before = self._unsaved.get(digest)
                self._unsaved[digest] = (state, boot if boot is not None or before is None else before[1])

    def forget(self, digest: bytes) -> None:
        """Drop what memory holds of a blob."""
        self._known.drop(digest)
        with self._unsaved_lock:
            self._unsaved.pop(digest, None)

    @property
    def unsaved_count(self) -> int:
        """Blobs whose state the index has yet to learn."""
        return len(self._unsaved)

    def save(self, connection: sqlite3.Connection) -> None:
        """Write the states that memory is ahead with, inside a transaction."""
        with self._unsaved_lock:
            rows = [(*state, boot, digest) for digest, (state, boot) in self._unsaved.items()]
            self._unsaved.clear()
        connection.executemany(
            "UPDATE blobs SET size = ?, mtime_ns = ?, ctime_ns = ?, boot = coalesce(?, boot) WHERE digest = ?", rows
        )

    def checked(self, digest: bytes) -> os.stat_result:
        """The blob's stat, once its content is known to be right: by stat alone, or by a new hash.

        Raises:
            BlobBrokenError: it is missing, unknown to the index, or altered. Nothing has been removed.
        """
        found = self.stat(digest)
        return found if self._is_known(digest, found) else self._check_slowly(digest, self.path(digest), found)

    def checked_for_link(self, digest: bytes) -> os.stat_result:
        """As `checked`; from now on the kernel tells whether the names that others get of it are written through.

        Raises:
            BlobBrokenError: as `checked`.
        """
        found = self.checked(digest)
        if self._watch is None or found.st_size < MIN_BYTES or not self._watch.add(self.path(digest), found.st_ino):
            return found
        return self.checked(digest)  # what happened before the watch began

    def is_checked(self, digest: bytes) -> bool:
        """Whether `checked` would go by stat alone, and memory."""
        try:
            return self._is_known(digest, os.lstat(self.path(digest)))
        except OSError:
            return False

    def _is_known(self, digest: bytes, found: os.stat_result) -> bool:
        """Whether a blob is as it was, but for names it got or lost while we watched that nobody writes to it."""
        known, now = self._known.get(digest), BlobState.of(found)
        if known is None or known == now:
            return known is not None
        if known[:2] != now[:2] or self._watch is None or not self._watch.is_unwritten(found.st_ino):
            return False
        self.remember(digest, now)
        return True

    def stat(self, digest: bytes) -> os.stat_result:
        """The blob's stat, right or not.

        Raises:
            BlobBrokenError: it is missing.
        """
        try:
            return os.lstat(self.path(digest))
        except OSError as error:
            raise BlobBrokenError(digest) from error

    def _check_slowly(self, digest: bytes, path: bytes, found: os.stat_result) -> os.stat_result:
        row = self._index.one("SELECT size, mtime_ns, ctime_ns, boot FROM blobs WHERE digest = ?", (digest,))
        if row is None:
            raise BlobBrokenError(digest)
        boot = str(row[3])
        unsafe = boot not in ("", self.boot)
        # Memory is ahead of the index, unless another process linked the blob and wrote that down.
        if not unsafe and BlobState(*row[:3]) == BlobState.of(found):
            self.remember(digest, BlobState.of(found), saved=True)
            return found
        return self._rehash(digest, path, None if boot == self.boot else "")

    def _rehash(self, digest: bytes, path: bytes, boot: str | None) -> os.stat_result:
        """Hash a blob; what was read in this boot and written in an earlier one is on the disk (`boot` empty)."""
        for _ in range(3):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError as error:
                raise BlobBrokenError(digest) from error
            try:
                before = os.fstat(fd)
                right = hashing.hash_fd(fd) == digest
                after = os.fstat(fd)
            except OSError as error:
                raise BlobBrokenError(digest) from error
            finally:
                os.close(fd)
            if not right:
                raise BlobBrokenError(digest)
            if BlobState.of(before) == BlobState.of(after):
                self.remember(digest, BlobState.of(after), boot=boot)
                return after
        raise BlobBrokenError(digest)  # somebody keeps writing to it


def sync(path: bytes) -> None:
    """Have a file's content written to the disk.

    Raises:
        OSError: it cannot be opened, or the disk refused.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _owner(pid: int, ticks: int) -> bytes:
    return f"{processes.boot_id()}-{processes.pid_namespace()}-{pid}-{ticks}".encode()


def _is_leftover(item: os.DirEntry[bytes]) -> bool:
    """By age, or because its process ended: pids mean something only in their own boot and pid namespace."""
    words = item.name.split(b"-")
    # A hardlink has the date of the file it is a second name of; its ctime is when it was made.
    if time.time() - item.stat(follow_symlinks=False).st_ctime > _STALE_S:
        return True
    if len(words) != 5 or not words[2].isdigit():
        return False
    if words[0] != processes.boot_id().encode():
        return True
    if words[1] != processes.pid_namespace().encode():
        return False
    return str(processes.start_ticks(int(words[2]))).encode() != words[3]
