"""Calls the daemon told of are counted before the index has them, once; and how far a build is."""

from __future__ import annotations

from typing import Any

from kache.reports.build_report import Build, Report, Unit
from kache.reports.stats import Stats
from kache.tui import fresh, tables
from kache.tui.estimate import estimates

NOW = 10**18


def told(crate: str, outcome: str = "local_hit", *, at: int = NOW, build: str = "2-2", **more: Any) -> dict[str, Any]:
    own = {"at_ns": at, "build": build, "root": "/src/two", "command": "cargo test", "crate_name": crate}
    rest = {"unit_kind": "lib", "outcome": outcome, "reason": "", "elapsed_us": 2000, "compile_ms": 500, "bytes": 7}
    return {**own, **rest, **more}


def unit(crate: str, build: str, *, took_ms: float = 100.0) -> Unit:
    return Unit(NOW - 10**9, build, crate, "lib", "miss", "", 0.0, took_ms, int(took_ms))


def build(build_id: str, *, age_s: int, wall_ms: float = 0.0) -> Build:
    return Build(build_id, "cargo build", "/src/one", NOW - age_s * 10**9, wall_ms, 0, 0, 0, 0, 0)


def report(*builds: Build, units: list[Unit] | None = None) -> Report:
    made = Report(1, "", NOW, Stats())
    made.builds, made.units = list(builds), units or []
    return made


def test_a_build_appears_with_its_first_call() -> None:
    events = [told("serde"), told("leaf", "miss", at=NOW + 10**9), told("bad", "miss", reason="compile-failed")]
    found = fresh.with_events(report(build("1-1", age_s=60)), events)
    first, second = found.builds
    assert (first.id, first.command, first.root) == ("2-2", "cargo test", "/src/two")
    assert (first.hits, first.misses, first.saved_ms, second.id) == (1, 2, 498, "1-1")
    assert first.wall_ms == 1502.0
    assert [each.crate_name for each in found.units] == ["serde", "bad", "leaf"]
    assert (found.stats.outcomes["local_hit"], found.stats.outcomes["miss"], found.stats.failed) == (1, 2, 1)


def test_the_report_it_came_from_is_left_alone() -> None:
    before = report(build("2-2", age_s=60))
    fresh.with_events(before, [told("serde")])
    assert before.builds[0].hits == 0 and not before.units and before.stats.outcomes["local_hit"] == 0


def test_what_the_index_has_is_counted_once() -> None:
    events = [told("serde"), told("leaf")]
    first = fresh.with_events(report(), events[:1])
    assert fresh.unseen(first, events) == events[1:]


def test_questions_and_verifications_are_no_calls() -> None:
    assert fresh.unseen(report(), [told("", "passthrough", reason="query"), told("serde", "verified")]) == []


def test_a_build_is_as_far_as_one_that_asked_for_the_same() -> None:
    units = [unit("app", "2-2")]
    units += [unit("serde", "1-1"), unit("leaf", "1-1"), unit("app", "1-1", took_ms=200.0)]
    units += [unit("serde", "3-3")]
    cold, edit, now = build("1-1", age_s=600, wall_ms=8000.0), build("2-2", age_s=60), build("3-3", age_s=1)
    (found,) = estimates(report(now, edit, cold, units=units), {"3-3"})
    assert (found.build.id, found.done, found.total) == ("3-3", 1, 3)
    assert found.left_s == 8.0 * 300 / 400  # what the other units took of that build


def test_what_was_never_built_has_no_estimate() -> None:
    units = [unit("new", "3-3"), unit("serde", "1-1")]
    (found,) = estimates(report(build("3-3", age_s=1), build("1-1", age_s=60), units=units), {"3-3"})
    assert found.total == 0 and found.left_s is None
    assert tables.running((), 10, [found]).startswith("cargo build") and "never built like this" in tables.running(
        (), 10, [found]
    )


def test_progress_is_a_bar_with_what_is_left() -> None:
    units = [unit("serde", "3-3"), unit("serde", "1-1"), unit("leaf", "1-1")]
    found = estimates(report(build("3-3", age_s=1), build("1-1", age_s=60, wall_ms=4000.0), units=units), {"3-3"})
    line = tables.running((), 10, found).splitlines()[0]
    assert "█████     " in line and "1/2 units, about 2.0 s left" in line
