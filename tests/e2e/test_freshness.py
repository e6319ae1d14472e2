"""After any build, however much of it was restored, cargo has nothing left to do: here and in every other checkout."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.support.marks import mostly_daemon, slow, warm_too
from tests.support.projects import chain, everything
from tests.support.sandbox import Sandbox

pytestmark = warm_too

NO_WRAPPER = {"RUSTC_WRAPPER": ""}

EDITS = {
    "macros": ("macros/src/lib.rs", '"7u32"', '"8u32"'),
    "build script": ("generated/build.rs", "[1, 2, 3]", "[1, 2, 4]"),
    "generated": ("generated/src/lib.rs", ".sum()", ".sum::<u32>()"),
    "both": ("both/src/lib.rs", " + ", "  + 1 - 1 + "),
    "app": ("app/src/main.rs", "{}", "{} "),
    "integration test": ("app/tests/whole.rs", "13", "12 + 1"),
}
CHANGES_THE_SUM = {"macros", "build script"}


def test_a_warm_build_leaves_both_checkouts_fresh(box: Sandbox) -> None:
    """Guards the restored dates: neither the new target dir nor the one the files came from is out of date."""
    first, second = box.checkout("a", everything()), box.checkout("the/second/one", everything())
    # One after the other: cargo itself has the one file of a cdylib rebuilt when another command needs it otherwise.
    for words in (("build",), ("test", "--no-run"), ("check", "--all-targets"), ("build", "--release")):
        first.cargo(*words)
        second.cargo(*words).expect(hits=None, misses=0)
        for checkout in (second, first, second):
            checkout.fresh(*words)


@pytest.mark.parametrize("edited", [pytest.param(n, marks=slow if n in ("generated", "app") else ()) for n in EDITS])
@mostly_daemon
def test_after_partial_hits_nothing_is_dirty(box: Sandbox, edited: str) -> None:
    """Guards mixed builds: some units compiled, some restored, in two checkouts alternately."""
    first, second = box.checkout("a", everything()), box.checkout("the/second/one", everything())
    first.test("--no-run")
    second.test("--no-run")
    name, old, new = EDITS[edited]
    if edited in CHANGES_THE_SUM:
        for checkout in (first, second):
            checkout.edit("app/tests/whole.rs", "13", "14")
    for checkout in (first, second):
        checkout.edit(name, old, new)
        checkout.test("--no-run")
        checkout.fresh("test", "--no-run")
        checkout.test().expect(hits=0, misses=0)
    first.fresh("test", "--no-run")
    # Back again: now everything is restored over newer files.
    for checkout in (first, second):
        checkout.edit(name, new, old)
        if edited in CHANGES_THE_SUM:
            checkout.edit("app/tests/whole.rs", "14", "13")
        checkout.test("--no-run").expect(hits=None, misses=0)
        checkout.fresh("test", "--no-run")
    first.clean().test("--no-run").expect(hits=None, misses=0)
    first.fresh("test", "--no-run")
    second.fresh("test", "--no-run")


@mostly_daemon
def test_build_check_and_test_in_turn_stay_fresh(box: Sandbox) -> None:
    """Guards one target dir with several commands, half of whose units are shared."""
    box.checkout("a", chain()).test("--no-run")
    second = box.checkout("second", chain())
    commands = (("check",), ("build",), ("test", "--no-run"), ("build", "-p", "mid"))
    for words in commands:
        second.cargo(*words).expect(hits=None, misses=None)
    for words in commands:
        second.fresh(*words)


def test_with_kache_without_it_and_with_it_again(box: Sandbox) -> None:
    """Guards switching the wrapper on and off over one target dir: nothing is dirty, and plain rustc can overwrite."""
    checkout = box.checkout("a", everything())
    checkout.build()
    checkout.clean().build().expect(hits=5)
    without = checkout.build("-v", env=NO_WRAPPER)
    assert "Dirty" not in without.stderr and "Compiling" not in without.stderr
    checkout.edit("macros/src/lib.rs", '"7u32"', '"8u32"')
    without = checkout.build("-v", env=NO_WRAPPER)
    assert "Compiling macros" in without.stderr
    checkout.fresh()
    assert checkout.program("app") == "14\n"
    checkout.edit("macros/src/lib.rs", '"8u32"', '"7u32"')
    checkout.build().expect(hits=3, misses=0)
    assert checkout.program("app") == "13\n"
    checkout.fresh()
    # What plain rustc wrote over restored files did not reach the store.
    box.checkout("second", everything()).build().expect(hits=5, misses=0)


def test_a_link_over_libraries_that_plain_rustc_made_is_stored(box: Sandbox) -> None:
    """Guards links over artifacts the store does not know: what they need is read off them, here with no wrapper."""
    checkout = box.checkout("a", everything())
    checkout.build("-p", "both", env=NO_WRAPPER)
    words = ("--no-run", "-p", "app")
    checkout.test(*words).expect(misses="app app whole", hits=0)
    (checkout.target / "debug/deps").joinpath("libunrelated-0123456789abcdef.rlib").write_bytes(b"")
    for built in ("app", "whole"):
        for path in (checkout.target / "debug/deps").glob(f"{built}-*"):
            path.unlink()
    checkout.test(*words).expect(hits=3, misses=0)
    checkout.edit("generated/build.rs", "[1, 2, 3]", "[1, 2, 4]")
    checkout.build("-p", "both", env=NO_WRAPPER)
    checkout.build("-p", "app").expect(misses="app", hits=0)
    assert checkout.program("app") == "14\n"


def test_a_cleaned_package_comes_back_without_making_others_dirty(box: Sandbox) -> None:
    """Guards `cargo clean -p`: the restored unit is newer than those above it, and they follow."""
    checkout = box.checkout("a", chain())
    checkout.build()
    checkout.cargo("clean", "-p", "leaf")
    checkout.build().expect(hits=None, misses=0)
    checkout.fresh()
    checkout.cargo("clean", "-p", "mid")
    checkout.build().expect(hits=None, misses=0)
    checkout.fresh()


def test_a_unit_compiled_again_below_restored_ones(box: Sandbox) -> None:
    """Guards eviction: one entry is gone, is compiled anew, and what lies above it is still served and fresh."""
    first = box.checkout("a", chain())
    first.build()
    done = box.kache("purge", "--crate-name", "leaf", "--yes")
    assert done.returncode == 0, done.stderr
    second = box.checkout("second", chain())
    second.build().expect(hits="mid app", misses="leaf")
    second.fresh()
    first.fresh()
    second.same_bytes_as_plain()


@mostly_daemon
def test_what_cargo_uplifts_is_dated_now(box: Sandbox) -> None:
    """Guards make and ninja downstream: a program that was restored is newer than what was there before the build."""
    checkout = box.checkout("a", everything())
    checkout.build()
    checkout.clean()
    stamp = checkout.write("stamp", "")
    before_ns = stamp.stat().st_mtime_ns
    checkout.build().expect(hits=5, misses=0)
    for name in ("app", "libboth.so"):
        assert (checkout.target / "debug" / name).stat().st_mtime_ns >= before_ns


@mostly_daemon
def test_sources_dated_in_the_future_do_not_make_a_build_loop(box: Sandbox) -> None:
    """Guards clocks: cargo rebuilds what is dated after the build, and each time it is a hit that changes nothing."""
    checkout = box.checkout("a", chain())
    checkout.build()
    later = time.time() + 3600
    os.utime(checkout.path / "leaf/src/lib.rs", (later, later))
    checkout.build().expect(hits=None, misses=0)
    assert checkout.run("-p", "app") == "42\n"
    now = time.time()
    os.utime(checkout.path / "leaf/src/lib.rs", (now, now))
    checkout.build().expect(hits=None, misses=0)
    checkout.fresh()


@mostly_daemon
def test_restored_dep_info_names_this_checkouts_files(box: Sandbox) -> None:
    """Guards `.d` files: cargo and other tools find the sources of this checkout in them, byte for byte rustc's own."""
    box.checkout("a", everything()).build()
    second = box.checkout("the/second/one", everything())
    second.build()
    plain = second.plain_outputs("build").named(".d")
    second.outputs().named(".d").same_as(plain)
    assert len(plain) >= 5
    for path in Path(second.target).rglob("*.d"):
        assert str(box.root / "a/") + "/" not in path.read_text()
