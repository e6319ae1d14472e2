"""What the service shows of workspaces and builds: rows for the API and for the pages."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from kache.core.usage import UnitUse
from kache.planner.service.brain import Brain
from kache.planner.service.database import Database

MAX_ROWS = 500
_SLOWEST = 25
_SUMS = (
    "count(*), sum(units), sum(hits), sum(saved_ms), sum(fetched_bytes), sum(used_bytes), sum(needed_bytes), sum(late),"
    " max(received_s)"
)


class Summary(Struct, frozen=True):
    """Builds of a workspace, summed.

    Attributes:
        workspace: its identity, hexadecimal.
        label: what people call it.
        builds, units, hits, late: counts.
        saved_ms: compile time of the hits.
        hit_rate, precision, recall: parts of one; None where there is nothing to divide by.
        last_s: when the last build came, s since the Unix epoch.
    """

    workspace: str
    label: str
    builds: int
    units: int
    hits: int
    saved_ms: int
    late: int
    hit_rate: float | None
    precision: float | None
    recall: float | None
    last_s: int


class Build(Struct, frozen=True):
    """One build, without its units."""

    number: int
    job: str
    branch: str
    command: str
    profile: str
    is_whole: bool
    at_s: int
    took_ms: int
    units: int
    hits: int
    saved_ms: int
    precision: float | None
    recall: float | None
    late: int


class SlowUnit(Struct, frozen=True):
    """A unit and what compiling it takes."""

    crate_name: str
    unit_kind: str
    package: str
    compile_ms: int
    size_bytes: int


class Workspace(Struct, frozen=True):
    """A workspace with its last builds and its slowest units."""

    summary: Summary
    builds: tuple[Build, ...]
    slowest: tuple[SlowUnit, ...]


class Workspaces(Struct, frozen=True):
    """All of them, the last built first."""

    workspaces: tuple[Summary, ...]


def workspaces(database: Database) -> Workspaces:
    """Every workspace."""
    rows = database.rows(
        f"SELECT workspace, max(label), {_SUMS} FROM builds GROUP BY workspace ORDER BY max(received_s) DESC LIMIT ?",
        (MAX_ROWS,),
    )
    return Workspaces(tuple(_summary(row) for row in rows))


def workspace(database: Database, brain: Brain, identity: bytes, limit: int) -> Workspace | None:
    """One of them; None if no build of it is known."""
    rows = database.rows(
        f"SELECT workspace, max(label), {_SUMS} FROM builds WHERE workspace = ? GROUP BY workspace", (identity,)
    )
    if not rows:
        return None
    builds = database.rows(
        "SELECT seq, job, branch, command, profile, is_whole, at_s, took_ms, units, hits, saved_ms, fetched_bytes,"
        " used_bytes, needed_bytes, late FROM builds WHERE workspace = ? ORDER BY seq DESC LIMIT ?",
        (identity, min(limit, MAX_ROWS)),
    )
    units: dict[tuple[str, str], UnitUse] = {}
    for record in brain.newest_records(identity, 8):
        for unit in record.units:
            units.setdefault((unit.crate_name, unit.unit_kind), unit)
    slowest = sorted(units.values(), key=lambda unit: -unit.compile_ms)[:_SLOWEST]
    return Workspace(
        _summary(rows[0]),
        tuple(_build(row) for row in builds),
        tuple(
            SlowUnit(unit.crate_name, unit.unit_kind, unit.package, unit.compile_ms, unit.size_bytes)
            for unit in slowest
        ),
    )


def _summary(row: tuple[Any, ...]) -> Summary:
    identity, label, builds, units, hits, saved_ms, fetched, used, needed, late, last_s = row
    return Summary(
        bytes(identity).hex(),
        label,
        int(builds),
        int(units),
        int(hits),
        int(saved_ms),
        int(late),
        _part(hits, units),
        _part(used, fetched),
        _part(used, needed),
        int(last_s),
    )


def _build(row: tuple[Any, ...]) -> Build:
    seq, job, branch, command, profile, is_whole, at_s, took_ms, units, hits, saved_ms, fetched, used, needed, late = (
        row
    )
    return Build(
        int(seq),
        job,
        branch,
        command,
        profile,
        bool(is_whole),
        int(at_s),
        int(took_ms),
        int(units),
        int(hits),
        int(saved_ms),
        _part(used, fetched),
        _part(used, needed),
        int(late),
    )


def _part(some: Any, whole: Any) -> float | None:
    return round(min(float(some) / float(whole), 1.0), 4) if whole else None
