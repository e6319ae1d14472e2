"""What the monitor's tables hold: a snapshot in, rows of text out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from kache.cargo.target_dirs import TargetDir
from kache.reports.build_report import Build
from kache.reports.listing import Row
from kache.reports.render.shared import group_of, outcome_word, why
from kache.reports.render.text import human_bytes, human_duration, plural
from kache.reports.stats import HITS
from kache.tui.estimate import Estimate
from kache.tui.source import Compile, Snapshot

SORTS: dict[str, tuple[str, ...]] = {
    "builds": ("newest", "longest", "misses", "saved"),
    "why": ("times", "took", "name"),
    "projects": ("own", "shared", "oldest", "name"),
    "store": ("name", "size", "hits", "age", "saved"),
    "transfers": ("newest", "size", "waited"),
    "planner": ("next", "name", "size"),
}
"""The orders of each tab; the first is the one it starts with."""
COLUMN_SORTS: dict[str, str] = {
    "crate": "name",
    "target directory": "name",
    "unchanged": "oldest",
    "unused for": "age",
    "ago": "newest",
    "compiled often": "name",
}
"""The order a click on a column's heading means, where it is not called as the column is."""
MAX_ROWS = 1000
"""Of a table: more takes long to draw, and nobody reads it."""
BUILD_COLUMNS = ("", "build", "took", "hits", "misses", "passed", "saved", "ago", "in")
UNIT_COLUMNS = ("crate", "unit", "outcome", "took", "size", "why")
STORE_COLUMNS = ("crate", "unit", "size", "hits", "compile", "saved", "unused for")
CHRONIC_COLUMNS = ("compiled often", "times", "took")
PROJECT_COLUMNS = ("own", "shared", "restorable", "unchanged", "target directory")
_COMMAND_CHARS = 40
_BAR = "█"


class Line(NamedTuple):
    """One row: what it is known by, and its cells."""

    key: str
    cells: tuple[str, ...]


def summary(snapshot: Snapshot) -> str:
    """One line at the top."""
    if snapshot.problem:
        return snapshot.problem
    counts = snapshot.report.stats.outcomes
    hits = sum(counts[name] for name in HITS)
    failed = snapshot.report.stats.failed
    failed_too = f"  failed {failed}" if failed else ""
    asked = hits + counts["miss"] - failed
    rate = f"{100 * hits / asked:.0f} %" if asked else "-"
    store = snapshot.report.stats.store
    daemon = f"daemon {snapshot.daemon.get('pid')}" if snapshot.daemon else "no daemon"
    return (
        f"hits {hits} ({rate})  misses {counts['miss'] - failed}{failed_too}  passed {counts['passthrough']}"
        f"  saved {human_duration(snapshot.report.stats.saved_compile_ms / 1000)}"
        f"  store {human_bytes(store['allocated_bytes'])}  {daemon}"
    )


def builds(snapshot: Snapshot, wanted: str, sort: str = "newest") -> list[Line]:
    """A dot before those that run."""
    keys: dict[str, Callable[[Build], float]] = {
        "longest": lambda build: -build.wall_ms,
        "misses": lambda build: -build.misses,
        "saved": lambda build: -build.saved_ms,
    }
    found = sorted(snapshot.report.builds, key=keys.get(sort, lambda build: -build.started_ns))
    return [
        Line(
            build.id,
            (
                "●" if build.id in snapshot.running else " ",
                _short(build.command),
                human_duration(build.wall_ms / 1000),
                str(build.hits),
                str(build.misses),
                str(build.passthroughs),
                human_duration(build.saved_ms / 1000),
                human_duration(max(snapshot.now_ns - build.started_ns, 0) / 1e9),
                build.root,
            ),
        )
        for build in found
        if matches(wanted, build.command, build.root)
    ][:MAX_ROWS]


def units(snapshot: Snapshot, build: str, wanted: str) -> list[Line]:
    """The calls of one build, the newest first."""
    return [
        Line(
            f"{unit.at_ns}-{number}",
            (
                unit.crate_name,
                unit.unit_kind,
                outcome_word(unit.outcome, unit.reason),
                human_duration(unit.duration_ms / 1000),
                human_bytes(unit.bytes) if unit.bytes else "",
                why(unit),
            ),
        )
        for number, unit in reversed(list(enumerate(snapshot.report.units)))
        if unit.build == build and matches(wanted, unit.crate_name, unit.outcome, why(unit))
    ][:MAX_ROWS]


def running(compiles: Sequence[Compile], width: int, builds: Sequence[Estimate] = ()) -> str:
    """How far each running build is; what compiles now, longest first, by the last compile of the same unit."""
    lines = []
    for build, done, total, left_s in builds:
        name = f"{_short(build.command)[:24]:<24}"
        if not total:
            lines.append(f"{name} {' ' * width} {plural(done, 'unit')}, never built like this before")
            continue
        about = f"about {human_duration(left_s)} left" if left_s else "nearly done"
        lines.append(f"{name} {bar(done / total, width)} {done}/{total} units, {about}")
    for each in sorted(compiles, key=lambda each: -each.elapsed_ms):
        share = min(each.elapsed_ms / each.expected_ms, 1.0) if each.expected_ms else 0.0
        left = f"of {human_duration(each.expected_ms / 1000)}" if each.expected_ms else "first time"
        name = f"{each.crate_name} {each.unit_kind}"[:24]
        lines.append(f"{name:<24} {bar(share, width)} {human_duration(each.elapsed_ms / 1000)} {left}")
    return "\n".join(lines) or "nothing compiles"


def counts(found: dict[str, int], width: int) -> str:
    """Bars, most frequent first."""
    if not found:
        return "none"
    most, label = max(found.values()), max(len(name) for name in found)
    return "\n".join(f"{name:<{label}} {bar(count / most, width)} {count}" for name, count in found.items())


def chronic(snapshot: Snapshot, wanted: str, sort: str = "times") -> list[Line]:
    """Crates that were compiled more than once."""
    found = snapshot.report.chronic(100)
    if sort == "took":
        found.sort(key=lambda each: -each[2])
    elif sort == "name":
        found.sort(key=lambda each: each[0])
    return [
        Line(name, (name, str(times), human_duration(took_ms / 1000)))
        for name, times, took_ms in found
        if times > 1 and matches(wanted, name)
    ]


def store(snapshot: Snapshot, sort: str, wanted: str) -> list[Line]:
    """The entries, in the order asked for."""
    rows = [row for row in snapshot.entries if matches(wanted, row.crate_name, row.unit_kind)]
    return [
        Line(
            row.key,
            (
                row.crate_name,
                row.unit_kind,
                human_bytes(row.bytes),
                str(row.hits),
                human_duration(row.compile_ms / 1000),
                human_duration(row.saved_ms / 1000),
                human_duration(max(snapshot.now_ns - row.used_ns, 0) / 1e9),
            ),
        )
        for row in _sorted(rows, sort)[:MAX_ROWS]
    ]


def order(snapshot: Snapshot, tab: str, sort: str, wanted: str) -> str:
    """The line above a table: in which order, and what is left out."""
    text = f"by {sort}; s or a click on a heading for another order, / to search"
    if tab != "store":
        return text
    found = sum(matches(wanted, row.crate_name, row.unit_kind) for row in snapshot.entries)
    cut = f"; the first {MAX_ROWS} of {found}" if found > MAX_ROWS else ""
    return f"{text}, d deletes a crate's entries{cut}"


def projects(found: Iterable[TargetDir], now_ns: int, wanted: str, sort: str = "own") -> list[Line]:
    """Target directories, the largest first where no other order is asked for."""
    keys: dict[str, Callable[[TargetDir], tuple[float, str]]] = {
        "shared": lambda each: (-each.shared_bytes, str(each.path)),
        "oldest": lambda each: (each.changed_ns, str(each.path)),
        "name": lambda each: (0, str(each.path)),
    }
    return [
        Line(
            str(each.path),
            (
                human_bytes(each.own_bytes),
                human_bytes(each.shared_bytes),
                human_bytes(each.restorable_bytes),
                human_duration(max(now_ns - each.changed_ns, 0) / 1e9),
                str(each.path),
            ),
        )
        for each in sorted(found, key=keys.get(sort, lambda each: (-each.own_bytes, str(each.path))))
        if matches(wanted, str(each.path))
    ]


def bar(share: float, width: int) -> str:
    """A bar in a field of that width."""
    full = round(max(min(share, 1.0), 0.0) * width)
    return _BAR * full + " " * (width - full)


def colour_of(outcome: str) -> str:
    """A theme's colour for an outcome as a row shows it."""
    group = group_of(outcome.replace(" ", "_"))
    return {"hit": "green", "miss": "red", "error": "magenta"}.get(group, "")


def _sorted(rows: list[Row], sort: str) -> list[Row]:
    if sort == "size":
        return sorted(rows, key=lambda row: (-row.bytes, row.crate_name))
    if sort == "hits":
        return sorted(rows, key=lambda row: (-row.hits, row.crate_name))
    if sort == "age":
        return sorted(rows, key=lambda row: (row.used_ns, row.crate_name))
    if sort == "saved":
        return sorted(rows, key=lambda row: (-row.saved_ms, row.crate_name))
    return rows


def matches(wanted: str, *texts: str) -> bool:
    """Whether a row with these texts is one the filter leaves."""
    return not wanted or any(wanted.lower() in text.lower() for text in texts)


def _short(command: str) -> str:
    return command if len(command) <= _COMMAND_CHARS else f"{command[: _COMMAND_CHARS - 1]}…"
