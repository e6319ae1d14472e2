"""Incremental state is made between the first edit and the second: where nobody sees it, and in nobody's way."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.checkout import Checkout
from tests.support.edits import MAIN, edited, making, prepared, sessions, states
from tests.support.projects import below, chain, hello, manifest, slow, warns, workspace
from tests.support.sandbox import Sandbox

_LATE_LINKER = """#!/bin/sh
[ "$(nice)" = 19 ] || exec cc "$@"
before=
for word in "$@"; do
    [ "$before" != -o ] || out=$word
    before=$word
done
cc "$@" && cp "$out" "$0.late" && touch "$(dirname "$0")/linking" && sleep 2 && cp "$0.late" "$out"
"""


def test_state_is_there_before_the_second_edit(daemon_box: Sandbox) -> None:
    """Guards who edits twice: the second edit finds state, made where nobody sees it, and is what cargo alone gives."""
    checkout = daemon_box.checkout("a", warns())
    checkout.build()
    checkout.edit(MAIN, 'println!("{same}")', 'println!("now {same}")')
    checkout.build().expect(misses="warns")
    left = sorted(path.name for path in (checkout.target / "debug/deps").iterdir())
    before = checkout.outputs()
    prepared(checkout)
    assert sessions(checkout, "warns")
    assert sorted(path.name for path in (checkout.target / "debug/deps").iterdir()) == left
    checkout.outputs().same_as(before)
    checkout.fresh()
    checkout.edit(MAIN, "now {same}", "then {same}")
    words = ("build", "--message-format=json")
    ours = checkout.cargo(*words).expect(passthroughs="warns", misses=0, hits=None)
    assert checkout.program("warns").startswith("then ")
    told = [path.read_text() for path in (checkout.target / "debug/deps").glob("*.d")]
    assert told and not [text for text in told if "kache.out" in text]
    assert "kache.out" not in ours.stdout + ours.stderr
    checkout.fresh()
    assert ours.json == checkout.plain(*words).json


def test_state_comes_to_a_target_on_another_filesystem(daemon_box: Sandbox) -> None:
    """Guards `CARGO_TARGET_DIR` on another disk than the cache: what was made is copied there, whole or not at all."""
    elsewhere = Path("/dev/shm") / daemon_box.root.name
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == daemon_box.root.stat().st_dev:
        pytest.skip("needs a second filesystem at /dev/shm")
    daemon_box.at_end(lambda: shutil.rmtree(elsewhere, ignore_errors=True))
    daemon_box.settings["CARGO_TARGET_DIR"] = str(elsewhere)
    checkout = daemon_box.checkout("a", hello())
    checkout.build()
    checkout.edit(MAIN, "world", "second")
    checkout.build().expect(misses="hello")
    prepared(checkout)
    states = list((elsewhere / "debug/incremental/kache").iterdir())
    assert [list(state.glob("hello-*/s-*-*-*")) != [] for state in states] == [True]
    checkout.edit(MAIN, "second", "third")
    checkout.build().expect(passthroughs="hello", misses=0, hits=None)


def test_an_edit_that_comes_sooner_goes_first(daemon_box: Sandbox) -> None:
    """Guards the state when its compile is ended in the middle: the edit is right, and so is the one after it."""
    checkout = daemon_box.checkout("a", slow(2.0, "pub const N: u32 = 1;"))
    checkout.build()
    name = "slow/src/lib.rs"
    checkout.edit(name, "= 1", "= 2")
    checkout.build().expect(misses="slow", hits=None)
    processes.until(lambda: bool(making(daemon_box)), limit_s=30, what="the state is being made")
    for number in (3, 4):
        checkout.edit(name, f"= {number - 1}", f"= {number}")
        checkout.build().expect(passthroughs="slow", misses=0, hits=None)
        assert not making(daemon_box)
        checkout.fresh()
    assert sessions(checkout, "slow")
    checkout.edit(name, "= 4", "= 2")
    checkout.build().expect(hits="slow", misses=0)


@pytest.mark.parametrize("how", ["clean", "stop", "kill"])
def test_what_is_being_made_goes_with_its_target_and_its_daemon(daemon_box: Sandbox, how: str) -> None:
    """Guards deleted target directories, which may not come back, and processes, which may not stay."""
    log = daemon_box.root / "slow.log"
    daemon_box.settings["SLOW_LOG"] = str(log)
    checkout = daemon_box.checkout("a", slow(2.0, "pub const N: u32 = 1;"))
    checkout.build()
    checkout.edit("slow/src/lib.rs", "= 1", "= 2")
    checkout.build()
    processes.until(lambda: log.read_text().count("start") == 3, limit_s=30, what="the state is being made")
    if how == "clean":
        checkout.clean()
        prepared(checkout)
        assert not checkout.target.exists()
    elif how == "stop":
        daemon_box.stop()
        assert not making(daemon_box)
    else:
        os.kill(daemon_box.daemon(), signal.SIGKILL)
    checkout.edit("slow/src/lib.rs", "= 2", "= 3")
    checkout.build()
    checkout.fresh()
    assert "3" in (checkout.path / "slow/src/lib.rs").read_text()


def test_a_copied_checkout_is_on_its_own(daemon_box: Sandbox) -> None:
    """Guards `cp -a` of a checkout: edits in the copy leave what was built in the first one alone."""
    first = daemon_box.checkout("a", hello())
    first.build()
    edited(first, MAIN, "world", "first", "second")
    prepared(first)
    shutil.copytree(first.path, daemon_box.root / "b", symlinks=True)
    second = Checkout(daemon_box, daemon_box.root / "b")
    before = first.outputs()
    edited(second, MAIN, "second", "third", "fourth")
    assert second.program("hello") == "hello, fourth\n"
    assert first.program("hello") == "hello, second\n"
    first.outputs().same_as(before)
    first.fresh()
    second.fresh()


def test_a_pull_is_no_edit(daemon_box: Sandbox) -> None:
    """Guards the machine: after a build that compiles many units anew nothing is compiled once more."""
    names = [f"part{number}" for number in range(17)]
    files = workspace(*names)
    for name in names:
        files |= below(name, {"Cargo.toml": manifest(name), "src/lib.rs": "pub const N: u32 = 1;\n"})
    checkout = daemon_box.checkout("a", files)
    checkout.build()
    for name in names:
        checkout.edit(f"{name}/src/lib.rs", "= 1", "= 2")
    checkout.build().expect(misses=17)
    assert len(states(checkout)) == 17
    prepared(checkout)
    assert not [name for name in names if sessions(checkout, name)]


def test_a_library_and_what_is_above_it(daemon_box: Sandbox) -> None:
    """Guards the state of what lies above: it is made against the library's own, of which nothing stays behind."""
    checkout = daemon_box.checkout("a", chain())
    checkout.build()
    name = "mid/src/lib.rs"
    checkout.edit(name, "2 *", "3 *")
    checkout.build().expect(misses="mid app", hits=None)
    before = checkout.outputs()
    prepared(checkout)
    assert sessions(checkout, "mid")
    assert sessions(checkout, "app")
    assert not list(checkout.target.glob("*/incremental/kache.out/*"))
    checkout.outputs().same_as(before)
    checkout.fresh()
    checkout.edit(name, "3 *", "4 *")
    checkout.build().expect(passthroughs="mid app", misses=0, hits=None)
    assert checkout.program("app") == "84\n"
    checkout.fresh()
    checkout.edit(name, "4 *", "3 *")
    checkout.build().expect(hits="mid app", misses=0)
    checkout.same_bytes_as_plain()


def test_a_linker_that_outlives_its_rustc_writes_nothing_of_ours(daemon_box: Sandbox) -> None:
    """Guards the outputs: rustc alone is killed while state is made, and what it had started would write late."""
    checkout = daemon_box.checkout("a", hello())
    linker = checkout.write("linker.sh", _LATE_LINKER)
    linker.chmod(0o755)
    checkout.write(".cargo/config.toml", f'[build]\nrustflags = ["-C", "linker={linker}"]\n')
    checkout.build()
    checkout.edit(MAIN, "world", "first")
    checkout.build()
    processes.until((checkout.path / "linking").exists, limit_s=30, what="the linker of the state's compile")
    for process in making(daemon_box):
        if process.argv[0].endswith("rustc"):
            os.kill(process.pid, signal.SIGKILL)
    prepared(checkout)
    checkout.edit(MAIN, "first", "second")
    checkout.build()
    time.sleep(3)
    assert checkout.program("hello") == "hello, second\n"
    assert not making(daemon_box)


@pytest.mark.parametrize("seconds", [0.0, 0.2])
def test_directories_that_were_there_before_stay(daemon_box: Sandbox, seconds: float) -> None:
    """Guards an emptied target directory and those above it: they are empty, and not ours."""
    target = daemon_box.root / "mine" / "target"
    target.mkdir(parents=True)
    daemon_box.settings["CARGO_TARGET_DIR"] = str(target)
    checkout = daemon_box.checkout("a", slow(1.0, "pub const N: u32 = 1;"))
    checkout.build()
    checkout.edit("slow/src/lib.rs", "= 1", "= 2")
    checkout.build()
    processes.until(lambda: bool(making(daemon_box)), limit_s=30, what="the state is being made")
    time.sleep(seconds)
    for path in target.iterdir():
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()
    prepared(checkout)
    assert target.is_dir()
