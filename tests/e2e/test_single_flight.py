"""Two simultaneous compiles of the same thing run rustc once; different edits never wait for each other."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import pytest

from tests.support.checkout import Checkout
from tests.support.projects import slow
from tests.support.sandbox import Sandbox
from tests.support.slow import Slow


@pytest.fixture
def box(daemon_box: Sandbox) -> Sandbox:
    return daemon_box


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for a build that must succeed; what it printed."""
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    return stderr


def together(*checkouts: Checkout) -> None:
    for process in [checkout.start("build") for checkout in checkouts]:
        ended(process)


def test_two_compiles_of_the_same_thing_run_rustc_once(box: Sandbox) -> None:
    """Guards single flight: the second waits for the first and gets its outputs, with its own paths."""
    watched = Slow(box)
    checkouts = [box.checkout("a", slow(1.5)), box.checkout("the/second", slow(1.5))]
    together(*checkouts)
    calls = box.calls()
    calls.expect(misses="sleeper slow", hits=None, dups=None)
    assert len(calls.hits) + len(calls.dups) == 2 and "slow" in [call.crate for call in calls.dups], calls
    assert watched.words() == ["start", "end"]
    for checkout in checkouts:
        checkout.fresh()
        checkout.same_bytes_as_plain()


@pytest.mark.parametrize("edited", ["slow/src/lib.rs", "slow/src/inner.rs"], ids=["root", "module"])
def test_different_edits_of_one_crate_do_not_wait_for_each_other(box: Sandbox, edited: str) -> None:
    """Guards parallel worktrees: two versions of a crate compile at once, though all their keys know is the same.

    The macro sleeps before rustc has written dep-info: what earlier compiles read has to tell the two apart.
    """
    watched = Slow(box)
    files = slow(1.5, "mod inner;") | {"slow/src/inner.rs": ""}
    box.checkout("zero", files).build()
    watched.forget()
    checkouts = [
        box.checkout(name, files | {edited: files[edited] + f"pub fn {name}() {{}}\n"}) for name in ("one", "other")
    ]
    together(*checkouts)
    assert watched.words() == ["start", "start", "end", "end"]
    box.calls().expect(hits="sleeper sleeper", misses=None)


def test_a_failed_leader_does_not_fail_those_who_waited(box: Sandbox) -> None:
    """Guards single flight against errors: each caller gets rustc's own answer."""
    broken = slow(1.5, "pub fn f() -> u32 { undefined }")
    checkouts = [box.checkout("a", broken), box.checkout("second", broken)]
    for process in [checkout.start("build") for checkout in checkouts]:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 101 and "E0425" in stderr


def test_a_leader_that_is_killed_leaves_its_place(box: Sandbox) -> None:
    """Guards single flight against kill -9: who waited compiles by itself."""
    watched = Slow(box)
    box.checkout("zero", slow(3)).build("-p", "sleeper")
    first, second = box.checkout("a", slow(3)).start("build"), None
    watched.rustc()
    second = box.checkout("second", slow(3)).start("build")
    time.sleep(1)
    os.killpg(first.pid, signal.SIGKILL)
    first.communicate(timeout=30)
    ended(second)
    assert watched.words() == ["start", "start", "end"]
