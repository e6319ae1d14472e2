"""Races: sources saved under rustc's eyes, a crowd of cargos, kills at every moment, an upgrade in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support import processes
from tests.support.checkout import Checkout
from tests.support.installation import Installation
from tests.support.marks import mostly_daemon, slow
from tests.support.projects import Files, alone, chain, everything, lib, manifest
from tests.support.projects import slow as slow_project
from tests.support.sandbox import Sandbox
from tests.support.slow import Slow

READS = 'pub const TEXT: &str = include_str!("text.txt");\nmod inner;\n'
MORE = {"slow/src/inner.rs": "pub fn f() {}\n", "slow/src/text.txt": "one\n"}


def slow_reader(seconds: float) -> Files:
    """`slow` with a module and a file it includes."""
    return slow_project(seconds, READS) | MORE


SAVES: dict[str, Callable[[Checkout], object]] = {
    "the root": lambda checkout: checkout.write("slow/src/lib.rs", slow_reader(1.5)["slow/src/lib.rs"] + "// more\n"),
    "a module": lambda checkout: checkout.write("slow/src/inner.rs", "pub fn other() {}\n"),
    "an included file": lambda checkout: checkout.write("slow/src/text.txt", "two\n"),
    "a file renamed into place": lambda checkout: checkout.write("new.rs", "pub fn other() {}\n").rename(
        checkout.path / "slow/src/inner.rs"
    ),
    "a file taken away": lambda checkout: (checkout.path / "slow/src/text.txt").unlink(),
    "saved and taken back": lambda checkout: (
        checkout.write("slow/src/inner.rs", "pub fn other() {}\n"),
        checkout.write("slow/src/inner.rs", MORE["slow/src/inner.rs"]),
    ),
}


@pytest.mark.parametrize("what", [pytest.param(n, marks=slow if "taken" in n or "ro" in n else ()) for n in SAVES])
def test_a_source_saved_while_rustc_runs(box: Sandbox, what: str) -> None:
    """Guards the editor's save in mid-compile: what rustc read is not known for sure, so nothing of it is stored."""
    watched = Slow(box)
    checkout = box.checkout("a", slow_reader(1.5))
    building = checkout.start("build")
    watched.rustc()
    SAVES[what](checkout)
    _, stderr = building.communicate(timeout=60)
    compiled = building.returncode == 0
    calls = box.calls()
    assert [call.reason for call in calls.of("slow")] == ["input-changed" if compiled else "compile-failed"], stderr
    # Neither state may be served what rustc made of a mixture.
    if what != "a file taken away":
        checkout.clean().build().expect(misses="slow", hits="sleeper")
        checkout.same_bytes_as_plain()
    second = box.checkout("second", slow_reader(1.5))
    second.build().expect(misses=None, hits=None)
    second.same_bytes_as_plain()


def test_a_dependency_compiled_again_while_its_user_compiles(box: Sandbox) -> None:
    """Guards externs: an rlib replaced under a running rustc, by a cargo with another profile dir, is noticed."""
    watched = Slow(box)
    files = slow_project(1.5, "pub fn n() -> u32 { dep::n() }")
    files["Cargo.toml"] = files["Cargo.toml"].replace('"slow"', '"slow", "dep"')
    files["slow/Cargo.toml"] += '\n[dependencies.dep]\npath = "../dep"\n'
    files |= {"dep/Cargo.toml": manifest("dep"), "dep/src/lib.rs": "pub fn n() -> u32 { 1 }\n"}
    checkout = box.checkout("a", files)
    building = checkout.start("build")
    watched.rustc()
    rmeta = next(checkout.target.glob("debug/deps/libdep-*.rmeta"))
    checkout.write("other.rmeta", rmeta.read_bytes() + b"\0").rename(rmeta)
    building.communicate(timeout=60)
    # Which of the two depends on whether rustc had read it.
    (call,) = box.calls().of("slow")
    assert call.reason in ("input-changed", "compile-failed")
    checkout.clean().build().expect(hits="sleeper dep", misses="slow")
    checkout.same_bytes_as_plain()


# ---- a crowd


def distinct(number: int) -> Files:
    """A program that knows its number, over a library that all have."""
    return alone(
        {
            "Cargo.toml": manifest("app"),
            "src/lib.rs": "pub fn shared() -> u32 { 1000 }\n",
            "src/main.rs": f'fn main() {{ println!("{{}}", app::shared() + {number}); }}\n',
        }
    )


@pytest.mark.parametrize("count", [24, pytest.param(100, marks=slow)])
@mostly_daemon
def test_a_crowd_of_builds(box: Sandbox, count: int) -> None:
    """Guards a hundred agents, one tree each: every build succeeds with its own program, none is served another's."""
    checkouts = [box.checkout(f"c{number}", distinct(number % 10)) for number in range(count)]

    def build(checkout: Checkout) -> subprocess.Popen[str]:
        running = checkout.start("build", "-q")
        running.communicate(timeout=240)
        return running

    with ThreadPoolExecutor(max_workers=count) as pool:
        ended = list(pool.map(build, checkouts))
    assert [process.returncode for process in ended] == [0] * count
    for number, checkout in enumerate(checkouts):
        assert checkout.program("app") == f"{1000 + number % 10}\n"
    calls = box.calls()
    calls.expect(hits=None, misses=None, dups=None)
    if box.engine == "daemon":
        assert len(calls.misses) < count, calls  # of twice as many calls; ten programs and one library are distinct
        assert len(box.daemons()) == 1
    box.checkout("last", distinct(3)).build().expect(hits=2, misses=0)
    assert box.data("doctor", exit_code=box.kache("doctor").returncode)["failed"] == 0


# ---- ends at every moment


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGTERM], ids=["kill", "term"])
def test_a_build_killed_at_any_moment(box: Sandbox, signal_: signal.Signals) -> None:
    """Guards every step: cargo, launchers and compilers die together at eight moments, and each next build is right."""
    for number in range(8):
        checkout = box.checkout(f"c{number}", everything())
        building = checkout.start("build")
        time.sleep(0.03 + 0.09 * number)
        os.killpg(building.pid, signal_)
        building.communicate(timeout=30)
        if number % 3 == 2:
            checkout.build().expect(hits=None, misses=None)
            assert checkout.program("app") == "13\n"
            checkout.fresh()
    processes.until(lambda: not [p for p in box.processes() if not p.runs("kache.daemon")], what="every process ended")
    box.calls()
    last = box.checkout("last", everything())
    last.build().expect(hits=5, misses=0)
    last.same_bytes_as_plain()


def test_an_engine_killed_again_and_again(plain_box: Sandbox) -> None:
    """Guards kill -9 of engines inside calls: whatever they were at, builds succeed, and what was stored is whole."""
    box = plain_box
    for number in range(4):
        checkout = box.checkout(f"c{number}", chain())
        building = checkout.start("build")
        while building.poll() is None:
            for process in box.processes():
                if process.runs("kache.wrapper"):
                    os.kill(process.pid, signal.SIGKILL)
            time.sleep(0.04 * (number + 1))
        _, stderr = building.communicate(timeout=60)
        assert building.returncode == 0, stderr
        assert checkout.program("app") == "42\n"
    box.checkout("more", chain()).build().expect(hits=None, misses=None)
    last = box.checkout("last", chain())
    last.build().expect(hits=3, misses=0)
    last.same_bytes_as_plain()


def test_the_daemon_upgraded_while_rustc_runs(daemon_box: Sandbox) -> None:
    """Guards upgrades: the old daemon finishes what it handed out, the new one serves it."""
    box = daemon_box
    installed = Installation(box.root / "environment")
    box.settings["RUSTC_WRAPPER"] = str(installed.kache)
    watched = Slow(box)
    checkout = box.checkout("a", slow_project(2))
    building = checkout.start("build")
    watched.rustc()
    with (installed.package / "engine" / "serve.py").open("a") as file:
        file.write("# changed\n")
    _, stderr = building.communicate(timeout=60)
    assert building.returncode == 0, stderr
    processes.until(lambda: box.log().count("serving") == 2, limit_s=30, what="started anew")
    box.calls()
    checkout.fresh()
    box.checkout("second", slow_project(2)).build().expect(hits="sleeper slow", misses=0)


def test_restores_while_everything_is_purged(box: Sandbox) -> None:
    """Guards `kache purge` in mid-build: what goes between lookup and restore is compiled, and cargo is content."""
    box.checkout("a", everything()).build()
    for number in range(5):
        checkout = box.checkout(f"c{number}", everything())
        building = checkout.start("build")
        while building.poll() is None:
            box.kache("purge", "--yes")
        _, stderr = building.communicate(timeout=60)
        assert building.returncode == 0, stderr
        assert checkout.program("app") == "13\n"
        box.calls()
        checkout.fresh()


def test_a_library_edited_between_two_packages_of_one_build(box: Sandbox) -> None:
    """Guards sources saved after they were compiled, before the build ended: the next build sees them."""
    watched = Slow(box)
    checkout = box.checkout("a", slow_project(1.5))
    building = checkout.start("build")
    watched.rustc()
    checkout.edit("sleeper/src/lib.rs", "use std::io::Write;", "use std::io::Write; // edited")
    building.communicate(timeout=60)
    assert building.returncode == 0
    box.calls()
    checkout.build().expect(misses="sleeper slow", hits=0)
    checkout.fresh()
    box.checkout("second", slow_project(1.5)).build("-p", "sleeper").expect(hits=1, misses=0)
    box.checkout("third", lib()).build().expect(misses=1)
