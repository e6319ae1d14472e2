"""The engine inside each call, without a daemon: whoever is killed, the build is right and the store whole."""

from __future__ import annotations

import os
import signal

import pytest

from tests.support import processes
from tests.support.projects import slow
from tests.support.sandbox import Sandbox
from tests.support.slow import Slow


@pytest.fixture
def box(plain_box: Sandbox) -> Sandbox:
    return plain_box


def engines(box: Sandbox) -> list[int]:
    """Process numbers of the engines at work."""
    return [process.pid for process in box.processes() if process.runs("kache.wrapper")]


def test_an_engine_killed_in_the_middle_of_a_compile(box: Sandbox) -> None:
    """Guards kill -9 of the engine: the compile goes on as plain rustc, and the next build records it."""
    watched = Slow(box)
    building = box.checkout("a", slow(1.5)).start("build")
    watched.rustc()
    for pid in engines(box):
        os.kill(pid, signal.SIGKILL)
    _, stderr = building.communicate(timeout=60)
    assert building.returncode == 0, stderr
    box.calls()
    box.checkout("second", slow(1.5)).build().expect(hits="sleeper", misses="slow")
    box.checkout("third", slow(1.5)).build().expect(hits="sleeper slow", misses=0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_build_ended_by_a_signal_leaves_nothing_behind(box: Sandbox, number: signal.Signals) -> None:
    """Guards Ctrl-C and kill -9: no process stays, nothing half-made is stored, the next build is right."""
    watched = Slow(box)
    checkout = box.checkout("a", slow(2))
    building = checkout.start("build")
    rustc = watched.rustc()
    os.killpg(building.pid, number)
    building.communicate(timeout=30)
    assert building.returncode != 0
    processes.until(lambda: not processes.runs(rustc), what="rustc ended")
    processes.until(lambda: not box.processes(), what="every process ended")
    box.calls()
    checkout.build().expect(hits=None, misses="slow")
    checkout.fresh()
    checkout.same_bytes_as_plain()
