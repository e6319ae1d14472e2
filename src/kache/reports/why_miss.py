"""Why a compile was not a hit: its labelled key inputs against the nearest earlier compile of the same unit."""

from __future__ import annotations

import re
import sqlite3
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from kache.core.outcome import Reason
from kache.core.secrets import is_secret
from kache.reports import transfers
from kache.reports.database import Window, last_build, name_of, near_name
from kache.reports.first_cause import FirstCauses
from kache.reports.stats import VERIFICATIONS

# The nearest of so many earlier compiles is compared with: enough for a few profiles and checkouts side by side.
_CANDIDATES = 8
# All build scripts have one name: so many compiles of that name are looked through for those of the same package.
_LOOKED_THROUGH = 400
_PACKAGE = "env:CARGO_PKG_NAME"
_FAILED = frozenset({Reason.COMPILE_FAILED, Reason.COMPILER_KILLED})
_NOTHING = "absent"
_KINDS = {
    "absent": "file",
    "arg": "flag",
    "argv": "flag",
    "crate": "dependency",
    "dep": "dependency",
    "dependency": "dependency",
    "directory": "directory",
    "env": "environment",
    "extern": "dependency",
    "file": "file",
    "flag": "flag",
    "link": "native input",
    "native": "native input",
    "program": "program",
    "rustc": "toolchain",
    "source": "file",
    "toolchain": "toolchain",
}
HIDDEN = "(hidden)"
_FLAGS = frozenset({"arg", "argv", "flag"})
_FOLLOWS = frozenset({"-C metadata", "-C extra-filename"})
"""Flags with cargo's own hash in them: they change because something else did."""

_OUT_DIR = "OUT_DIR"
"""Named for a hash of cargo's as well; what a compile read in it is an input of its own."""
_HASH = re.compile(r"-[0-9a-f]{16}(\.[a-z]+)$")

Inputs = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Change:
    """One input that differs; None where a side does not have it."""

    kind: str
    label: str
    before: str | None
    after: str | None


@dataclass(slots=True)
class Explanation:
    """Why one call was no hit.

    Attributes:
        cause: `first-compile`, `inputs-changed`, `entry-gone` (the same inputs were compiled before), `failed` (what it
            read is not known), `not-recorded` (the event carries no inputs), `passthrough`, `error`, or `unseeded` (not
            put into the target beforehand; an event of its own says what became of the call).
        reason: the event's own reason, empty when it has none.
        compared_with_ns: when the compile it is compared with ran, ns since the Unix epoch.
        first_cause: of a compile that only follows from others of its build, the unit where it began and its input.
        package: cargo's name of it, where that is known: all build scripts have one crate name.
    """

    crate_name: str
    unit_kind: str
    outcome: str
    reason: str
    at_ns: int
    cause: str
    compared_with_ns: int | None = None
    changes: list[Change] = field(default_factory=list)
    first_cause: str = ""
    package: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(slots=True)
class Report:
    """The answer of `kache why-miss`.

    Attributes:
        build: id of the one build looked at, None for all.
        name: that build as people know it.
        seen: the calls looked at, hits included.
        near: a crate that was seen and is called nearly as the one that was not; empty if there is none.
        not_fetched: of the one build, what was looked for in a remote and compiled all the same, by why.
    """

    build: str | None
    name: str = ""
    seen: int = 0
    explanations: list[Explanation] = field(default_factory=list)
    near: str = ""
    not_fetched: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        misses = [explanation.to_json() for explanation in self.explanations]
        told = {"build": self.build, "name": self.name, "seen": self.seen, "misses": misses}
        return {**told, "near": self.near, "not_fetched": self.not_fetched}


def collect(connection: sqlite3.Connection | None, crate_name: str | None, *, only_last_build: bool) -> Report:
    """Explain what was no hit.

    Args:
        connection: the index, None for a store that does not exist yet.
        crate_name: only this crate, through all builds, each unit's latest; None means all crates of the last build.
        only_last_build: look at the last build also when a crate is named.
    """
    if connection is None:
        return Report(build=None)
    build = last_build(connection) if only_last_build or crate_name is None else None
    conditions, values = [f"outcome NOT IN {VERIFICATIONS}"], []
    if build is not None:
        conditions.append("build = ?")
        values.append(build)
    if crate_name is not None:
        conditions.append("crate_name = ?")
        values.append(crate_name.replace("-", "_"))
    where = " AND ".join(conditions)
    report = Report(
        build=build,
        name=name_of(connection, build) if build else "",
        seen=connection.execute(f"SELECT count(*) FROM events WHERE {where}", values).fetchone()[0],
    )
    if crate_name is not None and not report.seen:
        report.near = near_name(connection, crate_name, "events")
    rows = connection.execute(
        "SELECT id, coalesce(crate_name, ''), coalesce(unit_kind, ''), outcome, coalesce(reason, ''), at_ns, inputs,"
        f" build FROM events WHERE {where} AND outcome IN ('miss', 'passthrough', 'error', 'unseeded')"
        " ORDER BY id DESC",
        values,
    ).fetchall()
    explained = set()
    first: dict[str, FirstCauses] = {}
    for *row, of_build in rows:
        _, _, unit_kind, outcome, *_ = row
        if build is None:  # all of history: each unit's latest is enough
            if (unit_kind, outcome) in explained:
                continue
            explained.add((unit_kind, outcome))
        explanation = _explained(connection, row)
        causes = first.setdefault(of_build, FirstCauses(connection, of_build, partial(_explained, connection)))
        explanation.first_cause = causes.of(explanation)
        report.explanations.append(explanation)
    report.explanations.reverse()
    if build is not None:
        report.not_fetched = transfers.not_fetched(connection, build)
    return report


def _explained(connection: sqlite3.Connection, row: Sequence[Any]) -> Explanation:
    event_id, crate, unit_kind, outcome, reason, at_ns, inputs = row
    explanation = Explanation(crate, unit_kind, outcome, reason, at_ns, cause=outcome)
    if outcome == "unseeded":
        explanation.changes = [Change(*_kind(label), None, None) for label in decode_inputs(inputs or b"")]
    elif outcome == "miss" or inputs:
        _explain_miss(connection, event_id, inputs, explanation)
    return explanation


def of_window(connection: sqlite3.Connection, window: Window, limit: int) -> list[Explanation]:
    """Explain the newest misses of a window, at most so many: each is compared with earlier compiles."""
    condition, values = window.where()
    rows = connection.execute(
        "SELECT id, coalesce(crate_name, ''), coalesce(unit_kind, ''), coalesce(reason, ''), at_ns, inputs"
        f" FROM events WHERE {condition} AND outcome = 'miss' ORDER BY id DESC LIMIT ?",
        [*values, limit],
    ).fetchall()
    found = []
    for event_id, crate, unit_kind, reason, at_ns, inputs in rows:
        explanation = Explanation(crate, unit_kind, "miss", reason, at_ns, cause="miss")
        _explain_miss(connection, event_id, inputs, explanation)
        found.append(explanation)
    return found


def decode_inputs(body: bytes) -> Inputs:
    """The labelled inputs of an event: zlib over msgpack of [label, value] pairs; a label may occur several times."""
    import msgspec

    try:
        pairs = msgspec.msgpack.decode(zlib.decompress(body), type=list[tuple[str, str]])
    except (zlib.error, msgspec.MsgspecError):
        return {}  # written by another version: nothing to compare, and no reason to fail the report
    inputs: dict[str, list[str]] = {}
    for label, value in pairs:
        inputs.setdefault(label, []).append(value)
    return {label: tuple(found) for label, found in inputs.items()}


def compare(before: Inputs, after: Inputs) -> list[Change]:
    """What differs, in the order of the newer compile, then what only the older one had. Pure."""
    changes: list[Change] = []
    before, after = _by_library(before), _by_library(after)
    for label in [*after, *(label for label in before if label not in after)]:
        old, new = before.get(label), after.get(label)
        if old != new and label in _FLAGS:
            changes += _flags(old or (), new or ())
        elif old != new:
            kind, name = _kind(label)
            gone, come = _without(old, new), _without(new, old)
            if not gone and not come:  # the same in another order
                gone, come = old, new
            change = Change(kind, name, _shown(kind, name, gone), _shown(kind, name, come))
            if {change.before, change.after} - {None, _NOTHING}:  # else it was looked for, and still is not there
                changes.append(change)
    return [each for each in changes if each.label != _OUT_DIR] or changes


def _by_library(inputs: Inputs) -> Inputs:
    """Libraries under their crates' names alone: the same one has another hash of cargo's in another profile."""
    found: dict[str, tuple[str, ...]] = {}
    for label, values in inputs.items():
        name = _HASH.sub(r"\1", label) if label.startswith("link:") else label
        found[name] = found.get(name, ()) + values
    return found


def _flags(old: tuple[str, ...], new: tuple[str, ...]) -> list[Change]:
    """One change a flag: `-C opt-level`, before and after. Cargo's own hashes are named where nothing else differs."""
    gone, come = _by_flag(_without(old, new)), _by_flag(_without(new, old))
    names = list(dict.fromkeys([*come, *gone])) or ["order"]
    telling = [name for name in names if name not in _FOLLOWS] or names
    return [Change("flag", name, gone.get(name), come.get(name)) for name in telling]


def _by_flag(values: tuple[str, ...] | None) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for value in values or ():
        name, equals, rest = value.partition("=")
        found.setdefault(name, []).append(rest if equals else value)
    return {name: " ".join(parts) for name, parts in found.items()}


def _without(values: tuple[str, ...] | None, others: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The values of a label that occurs often (a flag), less those the other side has too: one of fifty differs."""
    left = Counter(others)
    own = []
    for value in values or ():
        left[value] -= 1
        if left[value] < 0:
            own.append(value)
    return tuple(own) or None


def _explain_miss(connection: sqlite3.Connection, event_id: int, body: bytes | None, explanation: Explanation) -> None:
    after = decode_inputs(body) if body else {}
    if not after:
        explanation.cause = "not-recorded"
        return
    explanation.package = " ".join(after.get(_PACKAGE, ()))
    explanation.cause = "first-compile"
    for at_ns, before, reason in _earlier(connection, event_id, explanation, after.get(_PACKAGE)):
        changes = compare(*_comparable(before, after, reason, explanation.reason))
        if explanation.compared_with_ns is None or len(changes) < len(explanation.changes):
            explanation.compared_with_ns, explanation.changes = at_ns, changes
            explanation.cause = "inputs-changed" if changes else "entry-gone"
    if explanation.reason in _FAILED and not explanation.changes:
        # What it read is not known, so nothing can be said of it; that it was no hit is no wonder.
        explanation.cause = "failed"


def _earlier(
    connection: sqlite3.Connection, event_id: int, explanation: Explanation, package: tuple[str, ...] | None
) -> Iterator[tuple[int, Inputs, str]]:
    """When, on what and with what reason the same unit of the same package was compiled before, the newest first.

    What a compile that failed had read is not known, so none is compared with.
    """
    rows = connection.execute(
        "SELECT at_ns, inputs, coalesce(reason, '') FROM events"
        " WHERE id < ? AND crate_name = ? AND unit_kind = ? AND inputs IS NOT NULL"
        " ORDER BY id DESC LIMIT ?",
        (event_id, explanation.crate_name, explanation.unit_kind, _LOOKED_THROUGH),
    )
    left = _CANDIDATES
    for at_ns, body, reason in rows:
        before = {} if reason in _FAILED else decode_inputs(body)
        if before and before.get(_PACKAGE) == package:
            yield at_ns, before, reason
            left -= 1
            if not left:
                return


def _comparable(before: Inputs, after: Inputs, reason_before: str, reason_after: str) -> tuple[Inputs, Inputs]:
    """Both sides without what only the other could know: edits are not observed, failures tell little."""
    if reason_after == Reason.INCREMENTAL_EDIT or reason_after in _FAILED:
        before = {label: values for label, values in before.items() if label in after}
    elif reason_before == Reason.INCREMENTAL_EDIT:
        after = {label: values for label, values in after.items() if label in before}
    return before, after


def _kind(label: str) -> tuple[str, str]:
    """`env:CC` -> environment, CC; a label of a kind unknown here stays whole."""
    prefix, colon, name = label.partition(":")
    kind = _KINDS.get(prefix)
    if kind is None:
        return "input", label
    return kind, name.strip() if colon and name.strip() else prefix


def _shown(kind: str, name: str, values: tuple[str, ...] | None) -> str | None:
    if values is None:
        return None
    if kind == "environment" and is_secret(name):
        return HIDDEN
    return " ".join(values)
