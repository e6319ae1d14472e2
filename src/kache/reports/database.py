"""The index opened for reading, without the store's code: a report must not create, migrate or load anything."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from kache.errors import StoreCorruptError, StoreError, StoreVersionError

INDEX = Path("store", "index.db")
NEWEST_SCHEMA = 6
"""`kache.store.migrations.SCHEMA_VERSION`, without the import; a test holds them together."""


@contextmanager
def reading(cache_dir: Path) -> Iterator[sqlite3.Connection | None]:
    """Open the index of a cache dir, or give None when there is none: an absent store is an empty one.

    Raises:
        StoreCorruptError: the file is no index, or a query inside the block finds it broken.
        StoreVersionError: a newer kache wrote it.
        StoreError: the file is there but cannot be opened.
    """
    path = cache_dir / INDEX
    if not _exists(path):
        yield None
        return
    connection = None
    try:
        connection = _connect(path)
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        if version > NEWEST_SCHEMA:
            raise StoreVersionError(f"the index has schema {version}, this kache knows up to {NEWEST_SCHEMA}")
        yield connection
    except sqlite3.OperationalError as error:
        raise StoreError(f"cannot read {path}", why=str(error)) from error
    except sqlite3.DatabaseError as error:
        raise StoreCorruptError(f"{path} is damaged", why=str(error)) from error
    finally:
        if connection is not None:
            connection.close()


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise StoreError(f"cannot look at {path}", why=error.strerror or str(error)) from error


def _connect(path: Path) -> sqlite3.Connection:
    name = f"file:{quote(os.fsencode(path))}"  # a path need not be UTF-8
    connection = sqlite3.connect(f"{name}?mode=ro", uri=True, timeout=5)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        # WAL needs to write its -shm even to read; on a read-only disk nobody else writes, so the file stands still.
        connection = sqlite3.connect(f"{name}?mode=ro&immutable=1", uri=True)
    return connection


@dataclass(frozen=True, slots=True)
class Window:
    """Which events a report counts.

    Attributes:
        since_ns: only events at or after this time, ns since the Unix epoch.
        build: only events of this build; the empty text matches none (no build was ever recorded).
        root: only events of builds that ran in this directory or below it.
    """

    since_ns: int | None = None
    build: str | None = None
    root: str | None = None

    def where(self) -> tuple[str, list[object]]:
        """An SQL condition on `events` and its parameters."""
        conditions: list[str] = []
        values: list[object] = []
        if self.build is not None:
            conditions.append("build = ?")
            values.append(self.build)
        elif self.since_ns is not None:
            conditions.append("at_ns >= ?")
            values.append(self.since_ns)
        if self.root is not None:
            conditions.append(f"build IN (SELECT id FROM builds WHERE {_BELOW})")
            values += _below(self.root)
        return " AND ".join(conditions) or "1", values

    def builds_where(self) -> tuple[str, list[object]]:
        """The same on `builds`."""
        conditions: list[str] = []
        values: list[object] = []
        if self.build is not None:
            conditions.append("id = ?")
            values.append(self.build)
        elif self.since_ns is not None:
            conditions.append("last_ns >= ?")
            values.append(self.since_ns)
        if self.root is not None:
            conditions.append(_BELOW)
            values += _below(self.root)
        return " AND ".join(conditions) or "1", values


def last_build(connection: sqlite3.Connection, root: str | None = None) -> str:
    """Id of the build that started last, in a directory or below it if one is named; empty when there is none."""
    condition, values = Window(root=root).builds_where()
    row = connection.execute(
        f"SELECT id FROM builds WHERE {condition} ORDER BY started_ns DESC, rowid DESC LIMIT 1", values
    ).fetchone()
    return str(row[0]) if row else ""


def name_of(connection: sqlite3.Connection, build: str) -> str:
    """A build as people know it: what was typed and where; empty when it is not known."""
    row = connection.execute("SELECT coalesce(command, ''), coalesce(root, '') FROM builds WHERE id = ?", (build,))
    command, root = row.fetchone() or ("", "")
    return f"{command or 'a build'} in {root}" if root else str(command)


# No LIKE: `_` and `%` are common in paths.
_BELOW = "(root = ? OR substr(root, 1, ?) = ?)"


def _below(root: str) -> list[object]:
    inside = root.rstrip("/") + "/"
    return [root, len(inside), inside]


def near_name(connection: sqlite3.Connection, crate_name: str, where: str) -> str:
    """A crate name of `events` or `entries` that may have been meant; empty if none is like it."""
    import difflib

    known = [row[0] for row in connection.execute(f"SELECT DISTINCT crate_name FROM {where} WHERE crate_name NOT NULL")]
    wanted = crate_name.replace("-", "_")
    return next((name for name in difflib.get_close_matches(wanted, known, n=1) if name != wanted), "")
