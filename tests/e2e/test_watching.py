"""The daemon tells who watches what happens, as it happens; the monitor shows that before the index has it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from kache.config.load import load
from kache.errors import DaemonUnreachableError
from kache.ipc.client import Watch
from kache.tui.source import Snapshot, Source
from tests.support.projects import hello
from tests.support.sandbox import Sandbox

_LIMIT_S = 120
_ROUNDS = 400


def messages(watch: Watch) -> Iterator[dict[str, Any]]:
    for _ in range(_ROUNDS):
        yield watch.next()


def until(source: Source, holds: Callable[[Snapshot], bool]) -> Snapshot:
    """Look, as the monitor does, until something is so."""
    for _ in range(_ROUNDS):
        found = source.take()
        if holds(found):
            return found
        source.wait(0.5)
    raise AssertionError("it never came to be so")


@pytest.fixture
def watched(daemon_box: Sandbox) -> Sandbox:
    daemon_box.kache("daemon", "start")
    return daemon_box


def test_each_call_is_told_as_it_ends_and_each_compile_while_it_runs(watched: Sandbox) -> None:
    checkout = watched.checkout("a", hello())
    events: list[dict[str, Any]] = []
    compiling: set[str] = set()
    with closing(Watch(watched.socket)) as watch:
        assert watch.next()["events"] == []
        build = threading.Thread(target=checkout.build)
        build.start()
        for message in messages(watch):
            events += message["events"]
            compiling |= {each["crate_name"] for each in message["compiles"]}
            if sum(each["outcome"] == "miss" for each in events) == 2:
                break
        build.join(_LIMIT_S)
    misses = [each for each in events if each["outcome"] == "miss"]
    assert {each["crate_name"] for each in misses} == {"hello"} == compiling
    assert all(each["command"].startswith("cargo build") and each["root"] == str(checkout.path) for each in misses)


def test_the_monitor_shows_hits_at_once_and_counts_them_once(watched: Sandbox) -> None:
    watched.checkout("a", hello()).build()
    source = Source(load(watched.env(), None), 86400.0)
    with closing(source):
        until(source, lambda found: found.daemon is not None)
        watched.checkout("b", hello()).build().expect(hits=2)
        found = until(source, lambda found: found.report.stats.outcomes["local_hit"] >= 2)
        assert found.report.builds[0].root.endswith("/b") and found.report.builds[0].hits == 2
        watched.kache("stats")  # has the daemon write what it holds
        found = until(source, lambda found: len(found.report.builds) == 2)
        assert found.report.stats.outcomes["local_hit"] == 2


def test_it_listens_again_when_the_daemon_comes_back(watched: Sandbox) -> None:
    source = Source(load(watched.env(), None), 86400.0)
    with closing(source):
        first = until(source, lambda found: found.daemon is not None).daemon
        watched.kache("daemon", "stop")
        until(source, lambda found: found.daemon is None)
        watched.kache("daemon", "start")
        second = until(source, lambda found: found.daemon is not None).daemon
    assert first is not None and second is not None and first["pid"] != second["pid"]


def test_a_stop_does_not_wait_for_who_watches(watched: Sandbox) -> None:
    with closing(Watch(watched.socket)) as watch:
        watch.next()
        watched.kache("daemon", "stop")
        with pytest.raises(DaemonUnreachableError):
            for _ in messages(watch):
                pass
