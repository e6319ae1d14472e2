"""Index: bytes an entry takes in the store's database after a cold build of a project."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from bench.context import Context, clean, say, timed_build
from bench.errors import BenchError

LIMIT_BYTES = 8 * 1024


def run(context: Context, name: str) -> dict[str, object]:
    """Build a project once and weigh the index; return the figures."""
    where = context.checkout(context.project(name), "a")
    kache = context.kache()
    timed_build(kache, where)
    path_taken = kache.box.path_taken()
    kache.stop()
    clean(where)
    weight = weigh(kache.box.cache_dir / "store" / "index.db")
    each = weight["file_bytes"] / max(1, weight["entries"])
    say(f"index {name}: {weight['entries']} entries, {each / 1024:.2f} KB each")
    return {
        "path": path_taken,
        **weight,
        "bytes_per_entry": round(each),
        "limit_bytes": LIMIT_BYTES,
        "ok": weight["entries"] > 0 and each <= LIMIT_BYTES,
    }


def weigh(index: Path) -> dict[str, int]:
    """Return the size of an index file, its write-ahead log folded in, and the rows of its tables."""
    if not index.is_file():
        raise BenchError("there is no index", f"{index} does not exist after a build", "see the daemon's log beside it")
    connection = sqlite3.connect(index)
    try:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        rows = {name: int(connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0]) for name in names}
    finally:
        connection.close()
    return {
        "file_bytes": index.stat().st_size,
        "entries": rows.pop("entries", 0),
        **{f"rows_{name}": count for name, count in rows.items()},
    }
