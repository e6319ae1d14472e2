"""What the Transfers and Planner tabs say: a snapshot in, lines out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kache.config.load import Config, load
from kache.reports.build_report import Report
from kache.reports.stats import Stats
from kache.reports.wires import Moved, Wire
from kache.tui import plan_tables, wire_tables
from kache.tui.source import Snapshot

NOW = 10**18
REMOTE = {
    "place": "s3://builds",
    "received_bytes": 1,
    "sent_bytes": 1,
    "reads_stopped": "",
    "writes_stopped": "",
    "writes": True,
    "upload_rate": 0,
    "concurrency": 16,
    "wait_s": 0.25,
}


def config(**env: str) -> Config:
    return load({"HOME": "/nowhere", **env}, None)


def snapshot(wire: Wire | None = None, **daemon: Any) -> Snapshot:
    return Snapshot(NOW, Report(1, "", NOW, Stats()), wire=wire or Wire(), daemon=daemon or None)


def test_each_remote_says_whether_it_answers() -> None:
    stopped = {**REMOTE, "reads_stopped": "timed out", "writes_stopped": "403"}
    text = wire_tables.summary(snapshot(transfers=[REMOTE, stopped, {**REMOTE, "writes": False}]), config())
    assert text.splitlines()[:3] == [
        "remote    s3://builds: answers; takes uploads",
        "remote    s3://builds: reads stopped: timed out; uploads stopped: 403",
        "remote    s3://builds: answers; nothing is sent",
    ]


def test_the_budget_is_that_of_the_settings() -> None:
    text = wire_tables.summary(snapshot(transfers=[REMOTE]), config(KACHE_REMOTE_UPLOAD_RATE="2MiB"))
    assert "uploads 2.0 MiB/s, 16 requests at once, a build waits 250 ms" in text and "errors    none" in text


def test_a_configured_remote_nobody_asked_for_says_why_nothing_is_known() -> None:
    given = config(KACHE_REMOTE="file:///shared")
    assert "no daemon runs" in wire_tables.summary(snapshot(), given)
    assert "no build has asked for it" in wire_tables.summary(snapshot(pid=1), given)


def test_transfers_have_orders_and_a_filter() -> None:
    moved = tuple(Moved(NOW, "get", "hit", name, size, wait, 9) for name, size, wait in (("a", 1, 9.0), ("b", 5, 2.0)))
    found = snapshot(Wire(moved=moved))
    names = {
        sort: [line.cells[3] for line in wire_tables.moved(found, "", sort)] for sort in ("newest", "size", "waited")
    }
    assert names == {"newest": ["a", "b"], "size": ["b", "a"], "waited": ["a", "b"]}
    assert [line.cells[3] for line in wire_tables.moved(found, "B", "newest")] == ["b"]


def test_a_plan_is_counted_by_what_became_of_it() -> None:
    states = ("used", "used", "late", "predicted")
    units = [{"crate_name": f"c{number}", "unit_kind": "lib", "state": state} for number, state in enumerate(states)]
    found = snapshot(plan={"at_ns": NOW - 5 * 10**9, "root": "/src/x", "source": "earlier builds", "units": units})
    lines = plan_tables.summary(found, config()).splitlines()
    assert lines[0] == "4 units planned 5.0 s ago for /src/x, by earlier builds"
    assert [line.split()[0] for line in lines[1:]] == ["predicted", "used", "late"] and lines[2].endswith(" 2")
    assert [line.cells[0] for line in plan_tables.units(found, "late", "next")] == ["c2"]


def test_no_plan_says_why_and_how_one_comes_about() -> None:
    found = snapshot(pid=1)
    assert "none is possible without a remote" in plan_tables.summary(found, config())
    remote = config(KACHE_REMOTE="file:///shared")
    assert "no build has been planned" in plan_tables.summary(found, remote)
    assert "no daemon runs" in plan_tables.summary(replace(found, daemon=None), remote)
