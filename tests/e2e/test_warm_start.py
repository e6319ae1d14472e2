"""Warm start, on trial: whole units in a fresh target, cargo the judge, never a result plain cargo would not make."""

from __future__ import annotations

import random
import sqlite3
import subprocess
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.checkout import Checkout
from tests.support.projects import chain, everything
from tests.support.sandbox import Sandbox

ON = {"KACHE_WARM_START": "1"}


@pytest.fixture
def warm_box(daemon_box: Sandbox) -> Sandbox:
    daemon_box.settings.update(ON)
    return daemon_box


def captured(box: Sandbox, more_than: int = 0) -> int:
    """Wait until the daemon has captured another build; how often it has."""

    def count() -> int:
        connection = sqlite3.connect(f"file:{box.index}?mode=ro", uri=True, timeout=5)
        try:
            return int(connection.execute("SELECT coalesce(sum(used_ns), 0) FROM unit_sets").fetchone()[0])
        finally:
            connection.close()

    processes.until(lambda: count() > more_than, limit_s=20, what="the build was captured")
    return count()


def seeded(checkout: Checkout, *words: str) -> list[str]:
    """Build, and give the crates that were in place before cargo asked; nothing is left to do afterwards."""
    built = checkout.cargo(*(words or ("build",)))
    found = [call.crate for call in built.calls.all if call.outcome == "seeded"]
    checkout.fresh(*(words or ("build",)))
    return found


def test_a_second_checkout_is_served_before_cargo_asks(warm_box: Sandbox) -> None:
    """Guards the promise: sources untouched but newer, and rustc is not called once."""
    warm_box.checkout("a", chain()).build()
    captured(warm_box)
    second = warm_box.checkout("the/second/one", chain())
    built = second.build()
    assert not built.calls.hits and not built.calls.misses
    assert {call.outcome for call in built.calls.all if call.crate} == {"seeded"}
    second.fresh()
    second.same_bytes_as_plain()


def test_what_changed_is_rebuilt_with_all_above_it(warm_box: Sandbox) -> None:
    """Guards the dates: a source that is not what was compiled makes its unit, and what uses it, cargo's to build."""
    first = warm_box.checkout("a", everything())
    first.test("--no-run")
    captured(warm_box)
    second = warm_box.checkout("the/second/one", everything())
    second.edit("macros/src/lib.rs", '"7u32"', '"8u32"')
    second.edit("app/tests/whole.rs", "13", "14")
    assert "macros" not in seeded(second, "test", "--no-run")
    second.test().expect(hits=0, misses=0)
    first.fresh("test", "--no-run")


def test_a_file_saved_after_placing_is_newer(warm_box: Sandbox) -> None:
    """Guards the race between placing and an editor: the very next save counts."""
    warm_box.checkout("a", chain()).build()
    captured(warm_box)
    second = warm_box.checkout("b", chain())
    assert seeded(second)
    edit_something(second, random.Random(1))
    assert second.build().calls.all
    same_behaviour(second)


def test_verbs_that_build_nothing_create_nothing(warm_box: Sandbox) -> None:
    """Guards against surprises: a question about the workspace leaves no target directory."""
    warm_box.checkout("a", chain()).build()
    captured(warm_box)
    second = warm_box.checkout("b", chain())
    second.cargo("metadata", "--format-version=1")
    second.cargo("tree")
    assert not second.target.exists()


def test_it_is_off_unless_asked_for(daemon_box: Sandbox) -> None:
    """Guards the default: on trial means that nobody gets it unasked."""
    for name in ("a", "b"):
        built = daemon_box.checkout(name, chain()).build()
    assert built.calls.hits and all(call.outcome == "local_hit" for call in built.calls.hits)


def test_two_cargos_starting_at_once_in_a_new_target_both_succeed(warm_box: Sandbox) -> None:
    """Guards cargo's lock: who holds the profile builds, and nothing is placed under its hands."""
    warm_box.checkout("a", chain()).build()
    captured(warm_box)
    second = warm_box.checkout("b", chain())
    running = [second.start("build") for _ in range(2)]
    for process in running:
        _, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    warm_box.calls()
    second.fresh()
    same_behaviour(second)


def test_killed_at_any_moment_it_leaves_a_target_cargo_judges_right(warm_box: Sandbox) -> None:
    """Guards half-placed units: the file cargo believes in is written last."""
    warm_box.checkout("a", everything()).build()
    captured(warm_box)
    for number in range(6):
        second = warm_box.checkout(f"b{number}", everything())
        process = second.start("build")
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.01 + 0.012 * number)
        process.kill()
        process.communicate()
        if number % 2:
            warm_box.stop()
        second.build()
        second.fresh()
        same_behaviour(second)


def test_random_edits_in_fresh_checkouts_give_what_plain_cargo_gives(warm_box: Sandbox) -> None:
    """Guards staleness: content, date alone, revert, profile; each in a fresh checkout, compared with plain cargo."""
    dice = random.Random(20)
    first = warm_box.checkout("origin", everything())
    mark = 0
    for number in range(10):
        files = {name: (first.path / name).read_text() for name in everything()}
        checkout = warm_box.checkout(f"step/{number}", files)
        for _ in range(dice.randint(0, 2)):
            edit_something(checkout, dice)
        words = dice.choice((("build",), ("build",), ("build", "--release"), ("check",)))
        checkout.cargo(*words)
        checkout.fresh(*words)
        if words == ("build",):
            same_behaviour(checkout)
        mark = captured(warm_box, mark)
        if dice.random() < 0.5:
            first = checkout  # go on from here; else this step is reverted


def edit_something(checkout: Checkout, dice: random.Random) -> None:
    """A change of content that compiles, or of the date alone."""
    sources = sorted(path for path in checkout.path.rglob("src/*.rs") if "target" not in path.parts)
    source = dice.choice(sources)
    name = str(source.relative_to(checkout.path))
    if dice.random() < 0.3:
        checkout.touch(name)
        return
    text = source.read_text()
    checkout.write(name, f"{text}\n#[allow(dead_code)]\nfn added_{dice.randrange(10**9)}() {{}}\n")
    checkout.touch(name)


def same_behaviour(checkout: Checkout) -> None:
    """Every program prints what it prints when plain cargo builds it here."""
    ours = _said(checkout)
    assert ours
    with checkout._target_aside():
        checkout.cargo("build", env={"RUSTC_WRAPPER": ""}, count=False)
        assert _said(checkout) == ours


def _said(checkout: Checkout) -> dict[str, str]:
    programs = [
        path
        for path in (checkout.target / "debug").iterdir()
        if path.is_file() and path.stat().st_mode & 0o111 and not path.suffix
    ]
    return {path.name: checkout.program(path.name) for path in programs if isinstance(path, Path)}
