"""For a compile that follows from another one: the unit of the same build where it began."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kache.reports.why_miss import Change, Explanation

_LIBRARY = re.compile(r"lib(?P<crate>[A-Za-z0-9_]+?)(-[0-9a-f]+)?\.(rlib|rmeta|so|dylib)$")
_FOLLOWS = ("-C extra-filename", "-C metadata", "OUT_DIR")
"""With cargo's own hash in them: they change because something else did."""


class FirstCauses:
    """Follows dependencies down, within one build; each crate is looked at once.

    Args:
        connection: the index.
        build: id of it.
        explain: makes an explanation of a row (event id, crate, unit kind, outcome, reason, at_ns, inputs).
    """

    def __init__(
        self, connection: sqlite3.Connection, build: str, explain: Callable[[Sequence[object]], Explanation]
    ) -> None:
        self._connection = connection
        self._build = build
        self._explain = explain
        self._known: dict[str, str] = {}

    def of(self, explanation: Explanation) -> str:
        """`leaf: file src/lib.rs`; empty for a compile that has a cause of its own, or where none is known."""
        if explanation.cause != "inputs-changed" or any(_own(change) for change in explanation.changes):
            return ""
        names = dict.fromkeys(name for change in explanation.changes if (name := _crate(change)))
        return next((found for name in names if (found := self._below(name))), "")

    def _below(self, name: str) -> str:
        if name in self._known:
            return self._known[name]
        self._known[name] = ""  # while it is looked at
        row = self._connection.execute(
            "SELECT id, crate_name, coalesce(unit_kind, ''), outcome, coalesce(reason, ''), at_ns, inputs FROM events"
            " WHERE build = ? AND crate_name = ? AND inputs IS NOT NULL AND outcome IN ('miss', 'passthrough')"
            " AND unit_kind NOT IN ('bin', 'test', 'example', 'bench') ORDER BY id DESC LIMIT 1",
            (self._build, name),
        ).fetchone()
        if row is None:
            return ""
        found = self._explain(row)
        own = next((change for change in found.changes if _own(change)), None)
        if own is not None:
            self._known[name] = f"{name}: {own.kind} {own.label}"
        elif found.cause == "inputs-changed":
            self._known[name] = self.of(found)
        else:
            self._known[name] = f"{name}: {found.cause}"
        return self._known[name]


def _own(change: Change) -> bool:
    """Whether a change says something of the unit itself."""
    return not _crate(change) and change.label not in _FOLLOWS


def _crate(change: Change) -> str:
    """The crate whose output it is; empty for anything else."""
    if change.kind == "dependency":
        return change.label.rpartition(":")[2]
    found = _LIBRARY.match(change.label) if change.kind == "native input" else None
    return found["crate"] if found else ""
