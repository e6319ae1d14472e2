"""What the monitor's tables hold: a snapshot in, rows out."""

from __future__ import annotations

from pathlib import Path

from kache.cargo.target_dirs import TargetDir
from kache.reports.build_report import Build, Report, Unit
from kache.reports.listing import Row
from kache.reports.stats import Stats
from kache.tui import tables
from kache.tui.source import Compile, Snapshot

NOW = 10**18


def unit(crate: str, outcome: str, *, build: str = "1-1", took_ms: float = 5, cause: str = "") -> Unit:
    return Unit(NOW, build, crate, "lib", outcome, "", 0.0, took_ms, int(took_ms), cause)


def snapshot() -> Snapshot:
    report = Report(1, "", NOW, Stats())
    report.builds = [
        Build("2-2", "cargo test " + "x" * 60, "/src/two", NOW - 10**9, 900.0, 1, 2, 0, 0, 70),
        Build("1-1", "cargo build", "/src/one", NOW - 60 * 10**9, 100.0, 0, 3, 1, 0, 0),
    ]
    report.units = [unit("serde", "local_hit"), unit("app", "miss", cause="file"), unit("app", "miss", build="2-2")]
    rows = tuple(
        Row(name, name, "lib", size, hits, 100, hits * 100, NOW, NOW - age * 10**9)
        for name, size, hits, age in (("a", 10, 3, 5), ("b", 30, 1, 50), ("c", 20, 2, 500))
    )
    return Snapshot(NOW, report, rows, frozenset({"2-2"}))


def test_running_builds_are_marked_and_commands_cut() -> None:
    first, second = tables.builds(snapshot(), "")
    assert first.cells[0] == "●" and second.cells[0] == " "
    assert len(first.cells[1]) == 40 and first.cells[1].endswith("…")


def test_units_are_those_of_the_build_newest_first() -> None:
    assert [line.cells[0] for line in tables.units(snapshot(), "1-1", "")] == ["app", "serde"]
    assert [line.cells[5] for line in tables.units(snapshot(), "1-1", "")] == ["file", ""]
    assert tables.units(snapshot(), "none", "") == []


def test_a_filter_looks_into_names_outcomes_and_causes() -> None:
    assert [line.key for line in tables.builds(snapshot(), "ONE")] == ["1-1"]
    assert [line.cells[0] for line in tables.units(snapshot(), "1-1", "hit")] == ["serde"]
    assert [line.cells[0] for line in tables.units(snapshot(), "1-1", "FILE")] == ["app"]


def test_store_orders() -> None:
    orders = {sort: [line.key for line in tables.store(snapshot(), sort, "")] for sort in tables.SORTS["store"]}
    assert orders == {
        "name": ["a", "b", "c"],
        "size": ["b", "c", "a"],
        "hits": ["a", "c", "b"],
        "age": ["c", "b", "a"],
        "saved": ["a", "c", "b"],
    }


def test_what_runs_has_an_estimate_where_there_is_one() -> None:
    compiles = (Compile("new", "lib", "1-1", 100.0), Compile("app", "bin", "1-1", 500.0, 1000))
    first, second = tables.running(compiles, 10).splitlines()
    assert first.startswith("app bin") and "█████     " in first and "of 1.0 s" in first
    assert "█" not in second and second.endswith("first time")
    assert tables.running((), 10) == "nothing compiles"


def test_bars_fill_their_field() -> None:
    assert [tables.bar(share, 4) for share in (-1, 0, 0.5, 1, 2)] == ["    ", "    ", "██  ", "████", "████"]
    assert tables.counts({}, 4) == "none"
    assert tables.counts({"file": 4, "flag": 1}, 4).splitlines() == ["file ████ 4", "flag █    1"]


def test_projects_are_sorted_by_what_they_take() -> None:
    found = [
        TargetDir(Path(f"/{name}/target"), size, 0, 0, NOW, False, (), "") for name, size in (("a", 1), ("b", 5000))
    ]
    assert [line.key for line in tables.projects(found, NOW, "")] == ["/b/target", "/a/target"]
    assert [line.key for line in tables.projects(found, NOW, "/a/")] == ["/a/target"]


def test_an_unreadable_store_is_said_at_the_top() -> None:
    empty = snapshot()
    broken = Snapshot(NOW, empty.report, problem="cannot read the index")
    assert tables.summary(broken) == "cannot read the index"
