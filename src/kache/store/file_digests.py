"""Rows of `file_digests`: digests of files by what stat says of them, so that a restart hashes nothing again."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping

from kache.core.entry import FileIdentity

MAX_ROWS = 200_000
LOAD = (
    "SELECT dev, ino, size, mtime_ns, ctime_ns, digest FROM file_digests WHERE saved_s >="
    " coalesce((SELECT saved_s FROM file_digests ORDER BY saved_s DESC LIMIT 1 OFFSET ?), 0)"
)
FIND = "SELECT digest FROM file_digests WHERE dev = ? AND ino = ? AND size = ? AND mtime_ns = ? AND ctime_ns = ?"


def save(connection: sqlite3.Connection, rows: Mapping[FileIdentity, bytes]) -> None:
    """Insert rows; one file (device, inode) has one row, the last saved."""
    now_s = int(time.time())
    connection.executemany(
        "INSERT OR REPLACE INTO file_digests(dev, ino, size, mtime_ns, ctime_ns, digest, saved_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        [(*_signed(identity), digest, now_s) for identity, digest in rows.items()],
    )


def trim(connection: sqlite3.Connection) -> None:
    """Delete the longest saved rows beyond the bound."""
    count = connection.execute("SELECT count(*) FROM file_digests").fetchone()[0]
    if count > MAX_ROWS:
        connection.execute(
            "DELETE FROM file_digests WHERE (dev, ino) IN (SELECT dev, ino FROM file_digests ORDER BY saved_s LIMIT ?)",
            (count - MAX_ROWS,),
        )


def find_values(identity: FileIdentity) -> tuple[int, ...]:
    """Values of `FIND`."""
    return _signed(identity)


def identity_of(row: tuple[int, ...]) -> FileIdentity:
    """The identity in the first five columns of a row of `LOAD`."""
    return FileIdentity(*(value & _MASK for value in row[:2]), *row[2:5])


_MASK = (1 << 64) - 1


def _signed(identity: FileIdentity) -> tuple[int, ...]:
    """SQLite's integers are signed; btrfs and overlayfs give inode numbers with the top bit set."""
    dev, ino = (value - (1 << 64) if value >> 63 else value for value in identity[:2])
    return (dev, ino, *identity[2:])
