"""The service's database: SQLite in a file, or PostgreSQL by URL. One small dialect of SQL for both.

Thread promise: any thread may call anything. SQLite has one writer and one reader; PostgreSQL a few connections, which
several replicas share.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from kache.errors import PlannerDatabaseError, PlannerMissingError

SCHEMA_VERSION = 1
_BUSY_S = 5.0
_CONNECTIONS = 4
_FULL = ("disk is full", "no space left")
"""What SQLite and PostgreSQL say of a disk that is full."""
_STEPS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE builds(
            seq {serial}, id {blob} NOT NULL, at_s BIGINT NOT NULL, received_s BIGINT NOT NULL,
            workspace {blob} NOT NULL, label TEXT NOT NULL, job TEXT NOT NULL, branch TEXT NOT NULL,
            command TEXT NOT NULL, profile TEXT NOT NULL, is_whole INTEGER NOT NULL, took_ms BIGINT NOT NULL,
            units INTEGER NOT NULL, hits INTEGER NOT NULL, saved_ms BIGINT NOT NULL, size_bytes BIGINT NOT NULL,
            fetched_bytes BIGINT NOT NULL, used_bytes BIGINT NOT NULL, needed_bytes BIGINT NOT NULL,
            late INTEGER NOT NULL, score {blob}, body {blob}, UNIQUE(id, at_s))""",
        """CREATE INDEX builds_workspace ON builds(workspace, seq)""",
        """CREATE INDEX builds_received ON builds(received_s)""",
    ),
)
"""Step n leads from schema n to schema n + 1; one that was released is never edited."""


class Database:
    """An open database of the present schema.

    Args:
        url: `sqlite:///relative.db`, `sqlite:////absolute.db` or `postgresql://…`.

    Raises:
        PlannerDatabaseError: it cannot be used, is damaged, or a newer kache wrote it.
        PlannerMissingError: PostgreSQL is asked for, and its client is not installed.
    """

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.url = _without_password(url)
        if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
            self._pool: _Pool = _Sqlite(Path(rest[1:]), self.url)
        elif scheme in ("postgresql", "postgres"):
            self._pool = _Postgres(url, self.url)
        else:
            raise PlannerDatabaseError(
                f"{self.url!r} is no database",
                why="only SQLite and PostgreSQL are known",
                fix="write sqlite:///planner.db, sqlite:////var/lib/planner.db or postgresql://user@host/name",
            )
        self._migrate()

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query.

        Raises:
            PlannerDatabaseError: it cannot be read.
        """
        with self._pool.reading() as connection:
            return [tuple(map(_plain, row)) for row in connection.execute(self._pool.sql(query), values).fetchall()]

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Write: all of the block or nothing.

        Raises:
            PlannerDatabaseError: it cannot be written; nothing has changed.
        """
        with self._pool.writing() as connection:
            yield Transaction(connection, self._pool)

    def size_bytes(self) -> int:
        """What it takes on disk."""
        return int(self.rows(self._pool.size_query)[0][0])

    def _migrate(self) -> None:
        with self.transaction() as made:
            self._pool.lock_schema(made)
            made.execute("CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value BIGINT NOT NULL)")
            found = made.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
            version = int(found[0]) if found else 0
            if version > SCHEMA_VERSION:
                raise PlannerDatabaseError(
                    f"{self.url} has schema {version}, this kache knows up to {SCHEMA_VERSION}",
                    why="a newer kache has migrated it, and there is no way back",
                    fix="upgrade this kache, or give it a database of its own",
                )
            for step in _STEPS[version:]:
                for statement in step:
                    made.execute(statement.format(blob=self._pool.blob, serial=self._pool.serial))
            if version < SCHEMA_VERSION:
                made.execute("DELETE FROM meta WHERE name = 'schema'")
                made.execute("INSERT INTO meta(name, value) VALUES ('schema', ?)", (SCHEMA_VERSION,))


class Transaction:
    """What a block of `Database.transaction` works with."""

    def __init__(self, connection: Any, pool: _Pool) -> None:
        self._connection = connection
        self._pool = pool

    def execute(self, query: str, values: Sequence[object] = ()) -> Any:
        """Run a statement; its cursor."""
        return self._connection.execute(self._pool.sql(query), values)


class _Pool(ABC):
    """Connections of one kind of database."""

    blob = "BLOB"
    serial = "INTEGER PRIMARY KEY AUTOINCREMENT"
    size_query = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"

    def __init__(self, url: str) -> None:
        self.url = url

    def sql(self, query: str) -> str:
        return query

    @abstractmethod
    def reading(self) -> AbstractContextManager[Any]:
        """A connection to read with."""

    @abstractmethod
    def writing(self) -> AbstractContextManager[Any]:
        """A connection in a transaction that ends with the block."""

    def lock_schema(self, made: Transaction) -> None:  # noqa: B027 - SQLite's transaction locks it
        """Keep other replicas from migrating at the same time."""

    @abstractmethod
    def close(self) -> None:
        """Close all."""

    def failed(self, error: Exception) -> PlannerDatabaseError:
        why = str(error).strip().partition("\n")[0]
        is_full = any(sign in why.lower() for sign in _FULL)
        made = PlannerDatabaseError(
            f"{self.url} cannot be used",
            why=why,
            fix="make room where it is, or keep less with --keep-days; it goes on by itself" if is_full else "",
        )
        made.is_full = is_full
        return made


class _Sqlite(_Pool):
    def __init__(self, path: Path, url: str) -> None:
        super().__init__(url)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = self._connect(path)
            self._writer.execute("PRAGMA journal_mode = WAL")
            self._reader = self._connect(path)
            path.chmod(0o600)
        except (sqlite3.Error, OSError) as error:
            raise self.failed(error) from error
        self._write_lock, self._read_lock = threading.Lock(), threading.Lock()

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        made = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        made.execute("PRAGMA synchronous = NORMAL")
        return made

    @contextmanager
    def reading(self) -> Iterator[Any]:
        with self._read_lock:
            try:
                yield self._reader
            except sqlite3.Error as error:
                raise self.failed(error) from error

    @contextmanager
    def writing(self) -> Iterator[Any]:
        with self._write_lock:
            try:
                self._writer.execute("BEGIN IMMEDIATE")
                try:
                    yield self._writer
                    self._writer.execute("COMMIT")
                except BaseException:
                    if self._writer.in_transaction:
                        self._writer.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise self.failed(error) from error

    def close(self) -> None:
        with self._write_lock, self._read_lock:
            self._reader.close()
            self._writer.close()


class _Postgres(_Pool):
    blob = "BYTEA"
    serial = "BIGSERIAL PRIMARY KEY"
    size_query = "SELECT pg_total_relation_size('builds')"

    def __init__(self, url: str, shown: str) -> None:
        super().__init__(shown)
        try:
            import psycopg
        except ImportError as error:
            raise PlannerMissingError("PostgreSQL needs psycopg", why=str(error)) from error
        self._psycopg = psycopg
        self._place = url
        self._free: queue.LifoQueue[Any] = queue.LifoQueue()
        for _ in range(_CONNECTIONS):
            self._free.put(None)

    def sql(self, query: str) -> str:
        return query.replace("%", "%%").replace("?", "%s")

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        connection = self._free.get()
        try:
            if connection is None or connection.closed:
                connection = self._psycopg.connect(self._place, connect_timeout=int(_BUSY_S))
            yield connection
        except self._psycopg.Error as error:
            if connection is not None:
                connection.close()
            connection = None
            raise self.failed(error) from error
        finally:
            self._free.put(connection)

    @contextmanager
    def reading(self) -> Iterator[Any]:
        with self._connection() as connection, connection.transaction():
            yield connection

    def writing(self) -> AbstractContextManager[Any]:
        return self.reading()

    def lock_schema(self, made: Transaction) -> None:
        made.execute("SELECT pg_advisory_xact_lock(7165238)")

    def close(self) -> None:
        for _ in range(_CONNECTIONS):
            connection = self._free.get()
            if connection is not None:
                connection.close()


def _plain(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


def _without_password(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    login, at, place = rest.rpartition("@")
    return f"{scheme}{separator}{login.partition(':')[0]}{at}{place}".partition("?")[0] if at else url
