"""Rows of `entries` and `entry_blobs`.

body = msgpack(Entry), or zlib of it where that is smaller; a zlib stream starts with 0x78, an Entry's array with 0x9b.
"""

from __future__ import annotations

import logging
import sqlite3
import zlib
from collections.abc import Iterable

import msgspec

from kache.core.entry import Entry

_log = logging.getLogger("kache")
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Entry)
_ZLIB = 0x78


def encode(entry: Entry) -> bytes:
    """The body of an entry."""
    plain = _encoder.encode(entry)
    packed = zlib.compress(plain, 6)
    return packed if len(packed) < len(plain) else plain


def decode(body: bytes) -> Entry | None:
    """The entry of a body; None if another version or an accident wrote it: that is a miss."""
    try:
        return _decoder.decode(zlib.decompress(body) if body[:1] == bytes([_ZLIB]) else body)
    except (msgspec.MsgspecError, zlib.error) as error:
        _log.warning("an entry cannot be read: %s", error)
        return None


def save(connection: sqlite3.Connection, entry: Entry, now_ns: int) -> None:
    """Insert an entry or replace it, keeping the count of its hits."""
    body = encode(entry)
    connection.execute(
        "INSERT INTO entries(key, weak_key, crate_name, unit_kind, created_ns, used_ns, hits, compile_ms, bytes, body)"
        " VALUES (?, ?, ?, ?, ?, ?, 0, ?, ?, ?) ON CONFLICT(key) DO UPDATE SET weak_key = excluded.weak_key,"
        " crate_name = excluded.crate_name, unit_kind = excluded.unit_kind, created_ns = excluded.created_ns,"
        " used_ns = excluded.used_ns, compile_ms = excluded.compile_ms, bytes = excluded.bytes, body = excluded.body",
        (
            entry.key,
            entry.weak_key,
            entry.crate_name,
            entry.unit_kind,
            now_ns,
            now_ns,
            entry.compile_ms,
            sum(artifact.size for artifact in entry.artifacts),
            body,
        ),
    )
    connection.execute("DELETE FROM entry_blobs WHERE key = ?", (entry.key,))
    connection.executemany(
        "INSERT OR IGNORE INTO entry_blobs(key, digest) VALUES (?, ?)",
        [(entry.key, artifact.digest) for artifact in entry.artifacts],
    )


def delete(connection: sqlite3.Connection, keys: Iterable[bytes]) -> tuple[list[bytes], int]:
    """Delete entries with their memos.

    Returns:
        The digests of the blobs that only they named, whose rows are gone too, and the bytes those blobs took.
    """
    marks = [(key,) for key in keys]
    named: set[bytes] = set()
    for mark in marks:
        named.update(row[0] for row in connection.execute("SELECT digest FROM entry_blobs WHERE key = ?", mark))
    connection.executemany("DELETE FROM entry_blobs WHERE key = ?", marks)
    connection.executemany("DELETE FROM memos WHERE key = ?", marks)
    connection.executemany("DELETE FROM entries WHERE key = ?", marks)
    free = [digest for digest in named if not is_named(connection, digest)]
    return free, delete_blobs(connection, free)


def naming(connection: sqlite3.Connection, digest: bytes) -> list[bytes]:
    """Keys of the entries that name a blob."""
    return [row[0] for row in connection.execute("SELECT key FROM entry_blobs WHERE digest = ?", (digest,))]


def is_named(connection: sqlite3.Connection, digest: bytes) -> bool:
    """Whether any entry names a blob."""
    return connection.execute("SELECT 1 FROM entry_blobs WHERE digest = ? LIMIT 1", (digest,)).fetchone() is not None


def delete_blobs(connection: sqlite3.Connection, digests: Iterable[bytes]) -> int:
    """Delete rows of blobs; the bytes they took, taken off the total."""
    freed = 0
    for digest in digests:
        row = connection.execute("SELECT allocated FROM blobs WHERE digest = ?", (digest,)).fetchone()
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
        freed += row[0] if row else 0
    add_allocated(connection, -freed)
    return freed


def add_allocated(connection: sqlite3.Connection, count: int) -> None:
    """Move the running total of allocated blob bytes."""
    if count:
        connection.execute(
            "INSERT INTO meta(name, value) VALUES ('allocated_bytes', ?)"
            " ON CONFLICT(name) DO UPDATE SET value = value + excluded.value",
            (count,),
        )


def recount(connection: sqlite3.Connection) -> None:
    """Set the running total to the sum it stands for."""
    connection.execute(
        "INSERT OR REPLACE INTO meta(name, value) SELECT 'allocated_bytes', coalesce(sum(allocated), 0) FROM blobs"
    )
