"""The index's schema, as the steps that lead to it. A step that was released is never edited: add one after it."""

from __future__ import annotations

import sqlite3

from kache.errors import StoreVersionError

_FIRST = (
    """CREATE TABLE meta(name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID""",
    # body stays last: rows are read for their first columns far more often than for it.
    """CREATE TABLE entries(
        key BLOB PRIMARY KEY, weak_key BLOB NOT NULL, crate_name TEXT NOT NULL, unit_kind TEXT NOT NULL,
        created_ns INTEGER NOT NULL, used_ns INTEGER NOT NULL, hits INTEGER NOT NULL DEFAULT 0,
        compile_ms INTEGER NOT NULL, bytes INTEGER NOT NULL, body BLOB NOT NULL)""",
    """CREATE INDEX entries_crate ON entries(crate_name)""",
    """CREATE TABLE blobs(
        digest BLOB PRIMARY KEY, size INTEGER NOT NULL, allocated INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL, boot TEXT NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE entry_blobs(key BLOB NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(key, digest)) WITHOUT ROWID""",
    """CREATE INDEX entry_blobs_digest ON entry_blobs(digest)""",
    """CREATE TABLE memos(
        weak_key BLOB NOT NULL, key BLOB NOT NULL, used_ns INTEGER NOT NULL, files_id INTEGER, rest_id INTEGER,
        layout TEXT, PRIMARY KEY(weak_key, key)) WITHOUT ROWID""",
    """CREATE INDEX memos_key ON memos(key)""",
    """CREATE TABLE inputs(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, body BLOB NOT NULL)""",
    """CREATE TABLE builds(
        id TEXT PRIMARY KEY, started_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL, root TEXT, command TEXT)""",
    """CREATE TABLE events(
        id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, build TEXT NOT NULL, crate_name TEXT, unit_kind TEXT,
        outcome TEXT NOT NULL, reason TEXT, elapsed_us INTEGER, compile_ms INTEGER, linked_bytes INTEGER,
        cloned_bytes INTEGER, copied_bytes INTEGER, inputs BLOB)""",
    """CREATE INDEX events_build ON events(build)""",
    """CREATE INDEX events_crate ON events(crate_name)""",
    """CREATE TABLE file_digests(
        dev INTEGER NOT NULL, ino INTEGER NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL, digest BLOB NOT NULL, saved_s INTEGER NOT NULL,
        PRIMARY KEY(dev, ino)) WITHOUT ROWID""",
)

_UNIT_SETS = (
    """CREATE TABLE unit_sets(
        id BLOB PRIMARY KEY, workspace BLOB NOT NULL, toolchain BLOB NOT NULL, used_ns INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    """CREATE INDEX unit_sets_workspace ON unit_sets(workspace, used_ns)""",
)

_REMOTE = (
    # What waits to be sent to a remote; the entries themselves stay where they are.
    """CREATE TABLE uploads(
        place TEXT NOT NULL, key BLOB NOT NULL, queued_ns INTEGER NOT NULL, due_ns INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, PRIMARY KEY(place, key)) WITHOUT ROWID""",
    # What went over the wire, a row an entry looked for or sent.
    """CREATE TABLE transfers(
        id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, build TEXT NOT NULL, direction TEXT NOT NULL,
        outcome TEXT NOT NULL, key BLOB, requests INTEGER NOT NULL, bytes INTEGER NOT NULL, waited_us INTEGER NOT NULL,
        compile_ms INTEGER NOT NULL)""",
)

_OBSERVATIONS = ("""ALTER TABLE memos ADD COLUMN notes_id INTEGER""",)

_USAGE = (
    # What builds used, for plans of what the next will need (kache.store.build_records).
    """CREATE TABLE build_records(
        id BLOB PRIMARY KEY, workspace BLOB NOT NULL, at_ns INTEGER NOT NULL, is_whole INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    """CREATE INDEX build_records_workspace ON build_records(workspace, at_ns)""",
    """CREATE TABLE brought(key BLOB PRIMARY KEY, at_ns INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE plan_scores(
        id INTEGER PRIMARY KEY, at_ns INTEGER NOT NULL, workspace BLOB NOT NULL, build TEXT NOT NULL,
        body BLOB NOT NULL)""",
)

_SHARED_UNIT_SETS = (
    # Where remotes have entries that were sent there or came from there, and unit sets that wait for their upload. A
    # row of the latter stays, without its body, to tell what was sent last.
    """CREATE TABLE remote_places(
        place TEXT NOT NULL, key BLOB NOT NULL, at_ns INTEGER NOT NULL, body BLOB NOT NULL,
        PRIMARY KEY(place, key)) WITHOUT ROWID""",
    """CREATE TABLE unit_uploads(
        id BLOB PRIMARY KEY, place TEXT NOT NULL, queued_ns INTEGER NOT NULL, due_ns INTEGER NOT NULL,
        tries INTEGER NOT NULL DEFAULT 0, digest BLOB NOT NULL, sent_digest BLOB, sent_ns INTEGER, body BLOB)""",
)

STEPS: tuple[tuple[str, ...], ...] = (_FIRST, _UNIT_SETS, _REMOTE, _OBSERVATIONS, _USAGE, _SHARED_UNIT_SETS)
"""Step n leads from schema n to schema n + 1."""
SCHEMA_VERSION = len(STEPS)


def version_of(connection: sqlite3.Connection) -> int:
    """The schema an index has; 0 for an empty file.

    Raises:
        StoreVersionError: a newer kache wrote it.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > SCHEMA_VERSION:
        raise StoreVersionError(f"the index has schema {version}, this kache knows up to {SCHEMA_VERSION}")
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an index to the present schema, all of it or nothing.

    Raises:
        StoreVersionError: a newer kache wrote it.
        sqlite3.Error: a step failed; nothing has changed.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statements in STEPS[version_of(connection) :]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
