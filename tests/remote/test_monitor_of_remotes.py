"""The monitor beside a real remote: what waits and what was moved, the last plan, and a git hook that makes one."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from kache.config.load import load
from kache.tui import plan_tables, wire_tables
from kache.tui.source import Snapshot, Source
from tests.remote.test_prefetch import built
from tests.support.machines import Machines
from tests.support.projects import chain
from tests.support.sandbox import KACHE, Sandbox

_ROUNDS = 400


def until(box: Sandbox, holds: Callable[[Snapshot], bool]) -> Snapshot:
    """Look, as the monitor does, until something is so."""
    with closing(Source(load(box.env(), None), 86400.0)) as source:
        for _ in range(_ROUNDS):
            found = source.take()
            if holds(found):
                return found
            source.wait(0.5)
    raise AssertionError("it never came to be so")


def has_states(*wanted: str) -> Callable[[Snapshot], bool]:
    return lambda found: {line.cells[2] for line in plan_tables.units(found, "", "next")} == set(wanted)


def git(box: Sandbox, where: Path, *words: str) -> None:
    names = {f"GIT_{who}_{what}": "x" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    subprocess.run(["git", *words], cwd=where, env=box.env(names), capture_output=True, check=True)


def test_what_was_sent_and_fetched_and_planned_is_shown(machines: Machines) -> None:
    writer, reader = machines.pair()
    built(writer, chain())
    sent = until(writer, lambda found: sum(each.outcome == "stored" for each in found.wire.moved) >= 3)
    assert sum(sent.wire.sent) > 0 and sent.wire.queued_count == 0
    assert "takes uploads" in wire_tables.summary(sent, load(writer.env(), None))

    second = reader.checkout("b", chain())
    git(reader, second.path, "init", "-q", "-b", "main")
    git(reader, second.path, "commit", "-q", "--allow-empty", "-m", "one")
    git(reader, second.path, "branch", "other")
    words = [str(KACHE), "init", "--yes", "--no-probe", "--no-service", "--git-hooks"]
    subprocess.run(words, cwd=second.path, env=reader.env(), capture_output=True, check=True)
    git(reader, second.path, "checkout", "-q", "other")  # the hook asks for a prefetch

    planned = until(reader, has_states("fetched"))
    assert {line.cells[0] for line in plan_tables.units(planned, "", "next")} == {"leaf", "mid", "app"}
    fetched = until(reader, lambda found: sum(each.outcome == "hit" for each in found.wire.moved) >= 3)
    assert sum(fetched.wire.received) > 0
    assert {each.crate_name for each in fetched.wire.moved if each.outcome == "hit"} == {"leaf", "mid", "app"}

    second.build().expect(hits=3)
    used = until(reader, has_states("used"))
    assert "used" in plan_tables.summary(used, load(reader.env(), None))
