"""The index file: connections, transactions, and SQLite's errors in kache's words.

Thread promise: any thread may call anything. Reads have a connection of their own, so they never wait for a writer
(WAL), neither one of this process nor another's.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kache.errors import StoreCorruptError, StoreError
from kache.store.migrations import SCHEMA_VERSION, migrate, version_of
from kache.util.locking import locked

_log = logging.getLogger("kache")

_BUSY_TIMEOUT_S = 5.0
_COMMIT_S = 0.02
"""How long a commit of ours is waited for before everything known is taken for old."""
_PAGE_COUNTS = ("page_count", "freelist_count")
_FREE_PAGES_KEPT = 256
_ROOM_TO_OPEN = 64 << 10
"""Bytes: the shared memory of the log has 32 KiB."""
_SUSPECT = ".suspect"
"""Marks an index in which a query met damage: the next open looks at all of it."""


class Index:
    """An open index.

    Args:
        path: of the database.
        write: the connection that writes.
    """

    def __init__(self, path: Path, write: sqlite3.Connection) -> None:
        self.path = path
        self._write = write
        self._write_lock = threading.RLock()
        self._read: sqlite3.Connection | None = None
        self._read_lock = threading.Lock()
        self._inode = _inode(path)
        self._seen_by_read = -1
        self._seen_by_write = _data_version(write)

    @classmethod
    def open(cls, path: Path, *, create: bool) -> Index:
        """Open, making, migrating or (with `create`) replacing what is there.

        Raises:
            StoreError: it cannot be opened or written.
            StoreCorruptError: it is damaged and `create` is false.
            StoreVersionError: a newer kache wrote it.
        """
        if not create and not path.exists():
            raise StoreError(f"there is no index at {path}")
        try:
            return cls(path, _ready(path))
        except sqlite3.OperationalError as error:
            raise _known(error, path) from error
        except (sqlite3.DatabaseError, StoreCorruptError) as error:
            if not create:
                raise _known(error, path) from error
            _log.warning("the index %s is damaged (%s): starting an empty one", path, error)
        try:
            with locked(path.with_name("open.lock")):
                _set_aside(path)
            return cls(path, _ready(path))
        except (sqlite3.Error, OSError) as error:
            raise _known(error, path) from error

    def close(self) -> None:
        """Close both connections; the last one in the system folds the log into the database."""
        with self._read_lock, self._write_lock:
            if self._read is not None:
                self._read.close()
            self._write.close()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            StoreError: the index cannot be read.
        """
        try:
            with self._read_lock:
                if self._read is None:
                    self._read = _connect(self.path)
                    self._seen_by_read = _data_version(self._read)
                return self._read.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def one(self, query: str, values: Sequence[object] = ()) -> tuple[Any, ...] | None:
        """The first row of a query."""
        found = self.rows(query, values)
        return found[0] if found else None

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Write: BEGIN IMMEDIATE, and at the end COMMIT, or ROLLBACK if the block raised.

        Raises:
            StoreError: the index cannot be written; nothing has changed.
        """
        with self._write_lock:
            connection = self._write
            try:
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                    connection.execute("COMMIT")
                except BaseException:
                    if connection.in_transaction:
                        connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self._failed(error) from error

    def checkpoint(self) -> None:
        """Fold what can be of the write-ahead log into the database."""
        with self._write_lock:
            try:
                self._write.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            except sqlite3.Error as error:
                _log.info("the index keeps its log: %s", error)

    def shrink(self) -> None:
        """Give free pages back to the filesystem when they are more than a quarter of all, unless others keep us."""
        with self._write_lock:
            try:
                pages, free = (self._write.execute(f"PRAGMA {name}").fetchone()[0] for name in _PAGE_COUNTS)
                if free * 4 > pages and free > _FREE_PAGES_KEPT:
                    # A page a step, and `execute` makes one step of what gives no rows.
                    self._write.executescript(f"PRAGMA incremental_vacuum({free - _FREE_PAGES_KEPT})")
                    self._write.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                _log.info("the index keeps its free pages: %s", error)

    def moved(self) -> bool:
        """Whether another process has written since the last call. May say so once too often, never too rarely.

        `PRAGMA data_version` of the reading connection also moves with our own writes; the writing connection's does
        not, but it may be busy: a commit is waited for, since forgetting all that is known costs more.

        Raises:
            StoreError: the index was removed, or cannot be read.
        """
        if _inode(self.path) != self._inode:
            raise StoreError(f"{self.path} was removed or replaced", why="its directory was deleted, or it was damaged")
        try:
            with self._read_lock:
                if self._read is None:
                    self._read = _connect(self.path)
                version = _data_version(self._read)
            if version == self._seen_by_read:
                return False
            self._seen_by_read = version
            if not self._write_lock.acquire(timeout=_COMMIT_S):
                return True
            try:
                seen, self._seen_by_write = self._seen_by_write, _data_version(self._write)
                return seen != self._seen_by_write
            finally:
                self._write_lock.release()
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def _failed(self, error: sqlite3.Error) -> StoreError:
        known = _known(error, self.path)
        if isinstance(known, StoreCorruptError):
            try:
                self.path.with_name(self.path.name + _SUSPECT).touch()
            except OSError as problem:
                _log.info("cannot mark %s: %s", self.path, problem)
        return known


def _ready(path: Path) -> sqlite3.Connection:
    """A connection to an index of the present schema."""
    connection = _connect(path)
    try:
        suspect = path.with_name(path.name + _SUSPECT)
        if suspect.exists():
            verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
            if verdict != "ok":
                raise StoreCorruptError(f"{path} is damaged", why=verdict)
            suspect.unlink(missing_ok=True)
        if version_of(connection) != SCHEMA_VERSION:
            # Two processes must not switch one new file to WAL at once: SQLite does not wait there.
            with locked(path.with_name("open.lock")):
                path.chmod(0o600)  # it holds values of environment variables; SQLite gives its log the same mode
                # Rows hold a kilobyte or two: twice SQLite's default takes 8 % less of the disk, 16 KiB no less.
                connection.execute("PRAGMA page_size = 8192")
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
                connection.execute("PRAGMA journal_mode = WAL")
                migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA temp_store = MEMORY")
        # 32 MB of log: folding it in costs an fsync of some 20 ms, so idle work does it (`checkpoint`).
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
    except BaseException:
        connection.close()
        raise
    return connection


def _data_version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA data_version").fetchone()[0])


def _inode(path: Path) -> tuple[int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


def heal(path: Path) -> Path | None:
    """Read through an index and move it out of the way if it is damaged anywhere, which opening alone does not show.

    Returns:
        Where it is kept; None if it is sound.

    Raises:
        StoreError: it cannot be moved.
    """
    try:
        with locked(path.with_name("open.lock")):
            return _set_aside(path)
    except (sqlite3.Error, OSError) as error:
        raise _known(error, path) from error


def _set_aside(path: Path) -> Path | None:
    """Move a damaged index out of the way, unless another process has done so meanwhile; where to."""
    try:
        _ready_unlocked(path).close()
    except (sqlite3.DatabaseError, StoreCorruptError):
        number = 1
        while path.with_name(f"{path.name}.corrupt-{number}").exists():
            number += 1
        aside = f"{path.name}.corrupt-{number}"
        path.rename(path.with_name(aside))
        for suffix in ("-shm", _SUSPECT):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        log = path.with_name(f"{path.name}-wal")
        if log.exists():
            log.rename(path.with_name(f"{aside}-wal"))
        return path.with_name(aside)
    except FileNotFoundError:
        pass
    return None


def _ready_unlocked(path: Path) -> sqlite3.Connection:
    """As `_ready`, for an index that exists and without making anything."""
    path.stat()
    connection = _connect(path)
    try:
        version_of(connection)
        verdict = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
        if verdict != "ok":
            raise StoreCorruptError(f"{path} is damaged", why=verdict)
    except BaseException:
        connection.close()
        raise
    return connection


def _known(error: Exception, path: Path) -> StoreError:
    """An error of SQLite or the system as one of kache's."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError):
        return StoreCorruptError(f"{path} is damaged", why=str(error))
    if _is_full(path):  # SQLite calls it an I/O error, now and then
        return StoreError(
            f"cannot use {path}", why=f"the disk is full ({error})", fix="free space on it; kache gc frees its own"
        )
    return StoreError(f"cannot use {path}", why=str(error))


def _is_full(path: Path) -> bool:
    try:
        found = os.statvfs(path.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < _ROOM_TO_OPEN
