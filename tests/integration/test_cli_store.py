"""`kache gc`, `purge` and `daemon` against the real store and daemon."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.cli import CliBox

pytest.importorskip("kache.store.local")
pytest.importorskip("kache.ipc.lifecycle")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[CliBox]:
    box = CliBox(tmp_path)
    yield box
    box.run("daemon", "stop")


def test_gc_dry_run_changes_nothing(box: CliBox) -> None:
    index = box.index()
    for number in range(3):
        index.entry("serde", number=number)
    would = box.data("gc", "--max-size", "0", "--dry-run")
    assert (would["dry_run"], would["budget_bytes"]) == (True, 0)
    assert len(box.data("list")["entries"]) == 3


def test_purge_of_one_crate_leaves_the_others(box: CliBox) -> None:
    index = box.index()
    index.entry("serde", number=1)
    index.entry("other_crate", number=2)
    assert box.data("purge", "--crate-name", "other-crate", "--yes")["evicted_entries"] == 1
    assert [row["crate_name"] for row in box.data("list")["entries"]] == ["serde"]
    assert box.data("purge", "--yes")["evicted_entries"] == 1


def test_daemon_starts_answers_and_stops(box: CliBox) -> None:
    stopped = box.run("daemon", "status", "--json")
    assert stopped.returncode == 1
    assert json.loads(stopped.stdout)["data"]["running"] is False
    started = box.data("daemon", "start")
    assert started["running"] is True and started["cache_dir"] == str(box.cache_dir)
    assert box.data("stats")["outcomes"]["miss"] == 0  # flushes it first
    assert box.data("daemon", "restart")["pid"] != started["pid"]
    assert box.data("daemon", "stop") == {"running": False, "was_running": True}
    assert box.data("daemon", "stop")["was_running"] is False
