"""What the store holds: `kache list`."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from kache.reports.render.text import human_bytes, human_duration, plural, table

_ORDERS = {
    "name": "crate_name, unit_kind, created_ns DESC",
    "size": "bytes DESC, crate_name",
    "hits": "hits DESC, crate_name",
    "age": "used_ns, crate_name",
    "saved": "hits * compile_ms DESC, crate_name",
}
SORTS = tuple(_ORDERS)


@dataclass(frozen=True, slots=True)
class Row:
    """One entry; times in ns since the Unix epoch, `saved_ms` is hits x compile time."""

    key: str
    crate_name: str
    unit_kind: str
    bytes: int
    hits: int
    compile_ms: int
    saved_ms: int
    created_ns: int
    used_ns: int

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def collect(connection: sqlite3.Connection | None, crate_name: str | None, sort: str) -> list[Row]:
    """The entries of one crate or of all, in the order asked for (`age`: least recently used first)."""
    if connection is None:
        return []
    condition, values = ("crate_name IN (?, ?)", _spellings(crate_name)) if crate_name else ("1", [])
    rows = connection.execute(
        "SELECT hex(key), coalesce(crate_name, ''), coalesce(unit_kind, ''), coalesce(bytes, 0), coalesce(hits, 0),"
        " coalesce(compile_ms, 0), coalesce(hits * compile_ms, 0), created_ns, used_ns"
        f" FROM entries WHERE {condition} ORDER BY {_ORDERS[sort]}",
        values,
    )
    return [Row(row[0].lower(), *row[1:]) for row in rows]


def allocated_bytes(connection: sqlite3.Connection | None, crate_name: str | None) -> int:
    """What the entries of one crate or of all take on disk; a file that several share counts once."""
    if connection is None:
        return 0
    condition, values = ("crate_name IN (?, ?)", _spellings(crate_name)) if crate_name else ("1", [])
    row = connection.execute(
        "SELECT coalesce(sum(allocated), 0) FROM blobs WHERE digest IN (SELECT digest FROM entry_blobs WHERE key IN"
        f" (SELECT key FROM entries WHERE {condition}))",
        values,
    ).fetchone()
    return int(row[0])


def to_text(rows: list[Row], now_ns: int, total_bytes: int, near: str = "") -> str:
    """A table and its total; `near` is a crate that may have been meant where there are none."""
    if not rows:
        return f"no entries; did you mean {near}?" if near else "no entries"
    cells = [
        [
            row.crate_name,
            row.unit_kind,
            human_bytes(row.bytes),
            str(row.hits),
            human_duration(row.compile_ms / 1000),
            human_duration(row.saved_ms / 1000),
            human_duration(max(now_ns - row.used_ns, 0) / 1e9),
            row.key[:12],
        ]
        for row in rows
    ]
    headings = ["crate", "unit", "size", "hits", "compile", "saved", "unused for", "key"]
    total = f"{plural(len(rows), 'entry', 'entries')}, {human_bytes(total_bytes)} (a shared file counts once)"
    return f"{table(headings, cells, right=frozenset({2, 3, 4, 5, 6}))}\n\n{total}"


def _spellings(crate_name: str) -> list[str]:
    """People write the package's dashes; rustc's crate names have underscores."""
    return [crate_name, crate_name.replace("-", "_")]
