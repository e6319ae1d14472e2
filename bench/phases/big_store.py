"""A store of 100,000 entries: how long it takes to open, what a hit costs in it, what the daemon weighs with it."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from bench.arms import KacheArm
from bench.context import Context, clean, say, timed_build
from bench.errors import BenchError
from bench.phases.hit import library_calls
from bench.phases.memory import daemon_rss_bytes
from bench.replay import Contestant, RecordedCall, race
from bench.stats import median

OPEN_LIMIT_S = 1.0
RSS_LIMIT_BYTES = 250 * 1000 * 1000
# "As fast as an empty one": a median of hundreds of starts wobbles by this much by itself.
ANSWER_TOLERANCE = 1.10
UNIT = "memchr"
Value = str | bytes | int | float | None


def run(context: Context, name: str) -> dict[str, object]:
    """Measure a small store, fill it, measure again; return the figures."""
    where = context.checkout(context.project(name), "a")
    nothing, kache = context.nothing(), context.kache(KACHE_WARM_START="0")
    timed_build(nothing, where)
    call = library_calls(nothing, UNIT)[0]
    clean(where)
    timed_build(kache, where)
    small = measure(context, call, kache, where)
    kache.stop()
    say(f"big store: adding {context.entries} entries")
    entries = multiply(kache.box.cache_dir / "store" / "index.db", context.entries)
    big = measure(context, call, kache, where)
    path_taken = kache.box.path_taken()
    kache.stop()
    clean(where)
    say(
        f"big store: opens in {big['open_s']:.3f} s, hit {big['hit_s'] * 1e3:.2f} ms (small {small['hit_s'] * 1e3:.2f})"
    )
    return {
        "path": path_taken,
        "entries": entries,
        "small": small,
        "big": big,
        "open_limit_s": OPEN_LIMIT_S,
        "rss_limit_bytes": RSS_LIMIT_BYTES,
        "ok": big["open_s"] < OPEN_LIMIT_S
        and big["rss_bytes"] <= RSS_LIMIT_BYTES
        and big["hit_s"] <= small["hit_s"] * ANSWER_TOLERANCE
        and big["hits"] >= context.loops,
    }


def measure(context: Context, call: RecordedCall, kache: KacheArm, where: Path) -> dict[str, float]:
    """Start the daemon on the store, wait until it answers, repeat one hit."""
    kache.stop()
    started = time.perf_counter()
    kache.box.start()
    pid = kache.box.daemon_pid()
    open_s = time.perf_counter() - started
    if pid is None:
        raise BenchError("the daemon did not start", "it does not answer", f"see {kache.box.cache_dir / 'daemon.log'}")
    before = kache.box.counts()
    contestant = Contestant("kache", [str(context.program), *call.argv], call.env | kache.env(where))
    walls = race([contestant], context.loops, call.cwd)
    hits = kache.box.counts().since(before).hits
    return {
        "open_s": round(open_s, 6),
        "hit_s": round(median(walls["kache"]), 6),
        "hits": hits,
        "rss_bytes": daemon_rss_bytes(kache),
    }


def multiply(index: Path, wanted: int) -> int:
    """Fill an index up to `wanted` entries: copies of the real rows under keys and digests of their own.

    Copies of real rows, so that sizes are real; foreign keys and digests are made up the same way in every table, so
    that the copies refer to each other. Their blobs do not exist: nothing asks for these entries.
    """
    if not index.is_file():
        raise BenchError("there is no index", f"{index} does not exist after a build", "see the daemon's log beside it")
    connection = sqlite3.connect(index)
    try:
        # The n-th copy of a key is the key with its first four bytes replaced by n: unique, and stable across tables.
        connection.create_function("copy_of", 2, copy_of, deterministic=True)
        real = int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
        if not real:
            raise BenchError("the store is empty", "the build before recorded nothing", "run the cold phase first")
        copies = max(0, -(-(wanted - real) // real))
        connection.execute("CREATE TEMP TABLE copies(n INTEGER)")
        connection.executemany("INSERT INTO copies VALUES (?)", [(n + 1,) for n in range(copies)])
        for table in ("entries", "entry_blobs", "blobs", "memos"):
            _copy_rows(connection, table)
        connection.commit()
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
    finally:
        connection.close()


def copy_of(value: Value, n: int) -> Value:
    """Return the n-th copy of a key or digest."""
    return n.to_bytes(4, "big") + value[4:] if isinstance(value, bytes) and len(value) >= 16 else value


def _copy_rows(connection: sqlite3.Connection, table: str) -> None:
    identities = ("key", "digest", "weak_key")
    # An integer primary key numbers itself.
    columns = [
        row[1]
        for row in connection.execute(f"PRAGMA table_info({table})")
        if not (row[5] and row[2].upper() == "INTEGER")
    ]
    values = ", ".join(f"copy_of({name}, n)" if name in identities else name for name in columns)
    connection.execute(f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, copies")
