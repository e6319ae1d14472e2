"""What went over the wire: part of `kache stats`, and `kache remote status`."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from kache.reports.database import Window
from kache.reports.render.text import human_bytes, human_duration, plural

GETS = ("hit", "absent", "slower", "failed", "refused")
PUTS = ("stored", "present", "differs", "failed", "refused", "gone")

_WORST = 20
_WAITING = "SELECT count(*) FROM uploads WHERE key NOT IN (SELECT id FROM build_records)"
"""Entries; manifests of builds wait in the same queue."""
_WAITING_SETS = "SELECT count(*) FROM unit_uploads WHERE body NOT NULL"


@dataclass(frozen=True, slots=True)
class Fetched:
    """An entry that came over the wire, and was of no use, or of less than none."""

    crate_name: str
    bytes: int
    waited_ms: float
    compile_ms: int


@dataclass(slots=True)
class Transfers:
    """Counts of a window.

    Attributes:
        gets, puts: entries looked for and sent, by how that ended.
        received_bytes, sent_bytes, get_requests, put_requests: over the wire.
        waited_ms: how long builds waited for the remote, summed over calls.
        saved_compile_ms: compile time of what was fetched and used, less what waiting for it took.
        slower_count: fetches that took longer than compiling.
        unused_count, unused_bytes: entries fetched and never used, and their size over the wire.
        slower, unused: the worst of both.
        waiting: entries that wait for their upload now.
        waiting_sets: unit sets that do.
    """

    gets: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GETS, 0))
    puts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PUTS, 0))
    received_bytes: int = 0
    sent_bytes: int = 0
    get_requests: int = 0
    put_requests: int = 0
    waited_ms: int = 0
    saved_compile_ms: int = 0
    slower_count: int = 0
    unused_count: int = 0
    unused_bytes: int = 0
    waiting: int = 0
    slower: list[Fetched] = field(default_factory=list)
    unused: list[Fetched] = field(default_factory=list)
    waiting_sets: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain dicts and ints."""
        return asdict(self)


def collect(connection: sqlite3.Connection | None, window: Window | None = None) -> Transfers:
    """Count.

    Args:
        connection: the index, None for a store that does not exist yet.
        window: which transfers count; uploads belong to no build.
    """
    found = Transfers()
    if connection is None or not _has_table(connection):
        return found
    condition, values = (window or Window()).where()
    rows = connection.execute(
        "SELECT direction, outcome, count(*), sum(requests), sum(bytes), sum(waited_us) / 1000,"
        " sum(compile_ms > 0 AND waited_us / 1000 > compile_ms)"
        f" FROM transfers WHERE {condition} GROUP BY direction, outcome",
        values,
    )
    for direction, outcome, count, requests, size, waited_ms, slower in rows:
        if direction == "get":
            found.gets[outcome] = count
            found.get_requests += requests
            found.received_bytes += size
            found.waited_ms += waited_ms
            found.slower_count += slower
        else:
            found.puts[outcome] = count
            found.put_requests += requests
            found.sent_bytes += size
    found.waiting = int(connection.execute(_WAITING).fetchone()[0])
    found.waiting_sets = int(connection.execute(_WAITING_SETS).fetchone()[0])
    _uses(connection, condition, values, found)
    return found


def not_fetched(connection: sqlite3.Connection, build: str) -> dict[str, int]:
    """What a build looked for in a remote and did not get, by how that ended; the most frequent first."""
    if not _has_table(connection):
        return {}
    rows = connection.execute(
        "SELECT outcome, count(*) FROM transfers WHERE build = ? AND direction = 'get' AND outcome <> 'hit'"
        " GROUP BY 1 ORDER BY 2 DESC, 1",
        (build,),
    )
    return {str(outcome): int(count) for outcome, count in rows}


def _uses(connection: sqlite3.Connection, condition: str, values: Sequence[object], found: Transfers) -> None:
    """What became of what was fetched: of an entry that is gone by now nobody knows, it counts as used."""
    gets = f"(SELECT * FROM transfers WHERE direction = 'get' AND {condition})"
    fetched = f"FROM {gets} AS t LEFT JOIN entries AS e USING (key)"
    came, waited = f"{fetched} WHERE t.outcome = 'hit'", "t.waited_us / 1000.0"
    saved = f"SELECT sum(max(t.compile_ms - {waited}, 0)) {came} AND coalesce(e.hits, 1) > 0"
    found.saved_compile_ms = int(connection.execute(saved, values).fetchone()[0] or 0)
    row = connection.execute(f"SELECT count(*), sum(t.bytes) {came} AND e.hits = 0", values).fetchone()
    found.unused_count, found.unused_bytes = int(row[0]), int(row[1] or 0)
    columns = f"SELECT coalesce(e.crate_name, ''), t.bytes, {waited}, t.compile_ms"
    rows = connection.execute(f"{columns} {came} AND e.hits = 0 ORDER BY t.bytes DESC LIMIT {_WORST}", values)
    found.unused = [Fetched(*row) for row in rows]
    order = f"ORDER BY {waited} - t.compile_ms DESC LIMIT {_WORST}"
    is_slower = f"t.compile_ms > 0 AND {waited} > t.compile_ms"
    rows = connection.execute(f"{columns} {fetched} WHERE {is_slower} {order}", values)
    found.slower = [Fetched(*row) for row in rows]


def crates_of(connection: sqlite3.Connection | None, directory: str) -> set[str]:
    """Crates that builds in a directory compiled or were served."""
    if connection is None:
        return set()
    rows = connection.execute(
        "SELECT DISTINCT crate_name FROM events JOIN builds ON builds.id = events.build"
        " WHERE builds.root = ? AND crate_name != ''",
        (directory,),
    )
    return {str(row[0]) for row in rows}


def to_lines(found: Transfers) -> list[str]:
    """Lines for people; none if no remote was ever used."""
    if not found.get_requests and not found.put_requests and not found.waiting:
        return []
    waited, saved = human_duration(found.waited_ms / 1000), human_duration(found.saved_compile_ms / 1000)
    got, put = plural(found.get_requests, "request"), plural(found.put_requests, "request")
    hits = f"{found.gets['hit']} hits, {found.gets['absent']} absent"
    lines = [
        f"fetched   {human_bytes(found.received_bytes)} in {got}, {hits}; waited {waited}, saved {saved}",
        f"sent      {human_bytes(found.sent_bytes)} in {put}, {found.puts['stored']} new, {found.waiting} waiting",
    ]
    troubles = [
        (found.gets["failed"] + found.puts["failed"], "failed"),
        (found.gets["refused"] + found.puts["refused"], "refused (not to be trusted)"),
        (found.puts["differs"], "with another result there"),
        (found.gets["slower"] + found.slower_count, "slower than compiling"),
        (found.unused_count, f"fetched and never used ({human_bytes(found.unused_bytes)})"),
    ]
    told = [f"{count} {word}" for count, word in troubles if count]
    return [*lines, f"remote    {', '.join(told)}"] if told else lines


def _has_table(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'build_records'").fetchone() is not None
