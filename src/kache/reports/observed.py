"""What an entry depends on, and what was seen at its compile and is no input: `kache debug observed`."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass, field
from typing import Any

from kache.core.entry import InputKind, MemoInput
from kache.store.memos import decode_inputs

_WHY = {
    InputKind.FILE: "file: its content",
    InputKind.ABSENT: "absent: it was looked for in vain",
    InputKind.DIRECTORY: "directory: it was listed",
    InputKind.PRESENT: "present: it was asked for",
    InputKind.ENV: "variable: rustc tracks it",
    InputKind.READ: "variable: it was read",
    InputKind.PROGRAM: "program: what PATH finds",
    InputKind.FACT: "fact: it shows in the outputs",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """One file, directory, variable or program.

    Attributes:
        name: a path with placeholders for the roots, or a name.
        counts: whether it is an input.
        why: what of it counts, or why it does not.
    """

    name: str
    counts: bool
    why: str


@dataclass(slots=True)
class Closure:
    """One entry's; `is_observed` is False where explicit rules and dep-info alone decided."""

    key: str
    crate_name: str
    unit_kind: str
    is_observed: bool
    seen: list[Seen] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def collect(connection: sqlite3.Connection | None, crate_name: str) -> list[Closure]:
    """The closures of a crate's entries, the latest compile first."""
    if connection is None:
        return []
    rows = connection.execute(
        "SELECT e.key, e.crate_name, e.unit_kind, m.files_id, m.rest_id, m.notes_id FROM entries e"
        " JOIN memos m ON m.weak_key = e.weak_key AND m.key = e.key WHERE e.crate_name = ? ORDER BY e.created_ns DESC",
        (crate_name.replace("-", "_"),),
    ).fetchall()
    found = []
    for key, name, kind, files_id, rest_id, notes_id in rows:
        closure = Closure(key.hex(), name, kind, notes_id is not None)
        inputs = [*_inputs(connection, rest_id), *_inputs(connection, files_id)]
        closure.seen += [Seen(_text(item.name), counts=True, why=_WHY[item.kind]) for item in inputs]
        left_out = _inputs(connection, notes_id)
        closure.seen += [Seen(_text(item.name), counts=False, why=_text(item.value)) for item in left_out]
        found.append(closure)
    return found


def to_text(closures: list[Closure], crate_name: str) -> str:
    """One paragraph an entry: what counts, then what does not."""
    if not closures:
        return f"the store has no entry of crate {crate_name}"
    return "\n\n".join(_paragraph(closure) for closure in closures)


def _paragraph(closure: Closure) -> str:
    how = "observed" if closure.is_observed else "not observed: explicit rules and rustc's dep-info decide"
    counted = sum(seen.counts for seen in closure.seen)
    lines = [
        f"{closure.crate_name} {closure.unit_kind} {closure.key[:12]}, {how}; inputs beside the weak key: {counted}"
    ]
    lines += [f"  {'+' if seen.counts else '-'} {seen.name}  ({seen.why})" for seen in closure.seen]
    return "\n".join(lines)


def _inputs(connection: sqlite3.Connection, number: int | None) -> tuple[MemoInput, ...]:
    row = connection.execute("SELECT body FROM inputs WHERE id = ?", (number,)).fetchone()
    try:
        return decode_inputs(row[0]) if row else ()
    except ValueError:
        return ()  # written by another version


def _text(name: bytes) -> str:
    return name.decode("utf-8", "replace")
