"""The edit loop: what is being edited is compiled incrementally, and nothing of that is stored, shared or served."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.edits import LIB, MAIN, diagnostics, edited, entries, prepared, sessions, states
from tests.support.marks import mostly_daemon
from tests.support.projects import below, chain, hello, manifest, slow, warns, workspace
from tests.support.sandbox import Sandbox, has_component

EDIT = "incremental-edit"


def test_edit_edit_revert(box: Sandbox) -> None:
    """Guards the whole loop: the first edit is stored, the next ones incremental, and a known state hits at once."""
    checkout = box.checkout("a", hello())
    checkout.build().expect(misses="hello hello")
    checkout.edit(MAIN, "world", "first")
    checkout.build().expect(misses="hello")
    stored = entries(box)
    checkout.edit(MAIN, "first", "second")
    further = checkout.build().expect(misses=0, passthroughs="hello")
    assert [call.reason for call in further.calls.passthroughs] == [EDIT]
    assert checkout.program("hello") == "hello, second\n"
    checkout.fresh()
    checkout.edit(MAIN, "second", "third")
    checkout.build().expect(misses=0, passthroughs="hello")
    assert checkout.program("hello") == "hello, third\n"
    assert entries(box) == stored, "an output of an incremental compile became an entry"
    checkout.edit(MAIN, "third", "first")
    checkout.build().expect(hits="hello", misses=0)
    assert checkout.program("hello") == "hello, first\n"
    checkout.edit(MAIN, "first", "world")
    checkout.build().expect(hits="hello", misses=0)
    assert checkout.program("hello") == "hello, world\n"
    checkout.fresh()
    checkout.same_bytes_as_plain()
    checkout.edit(MAIN, "world", "fourth")
    checkout.build().expect(misses=0, passthroughs="hello")
    assert checkout.program("hello") == "hello, fourth\n"
    checkout.fresh()


def test_a_library_in_the_middle(box: Sandbox) -> None:
    """Guards what lies above an edited library: it is edited too, and what lies beside it stays served."""
    checkout = box.checkout("a", chain())
    checkout.build()
    checkout.edit("mid/src/lib.rs", "2 *", "3 *")
    checkout.build().expect(misses="mid app")
    stored = entries(box)
    checkout.edit("mid/src/lib.rs", "3 *", "4 *")
    checkout.build().expect(hits=0, misses=0, passthroughs="mid app")
    assert checkout.program("app") == "84\n"
    checkout.fresh()
    assert entries(box) == stored
    checkout.edit("leaf/src/lib.rs", "21", "20")
    checkout.build().expect(hits=0, misses="leaf", passthroughs="mid app")
    assert checkout.program("app") == "80\n"
    checkout.fresh()
    checkout.edit("leaf/src/lib.rs", "20", "21")
    checkout.edit("mid/src/lib.rs", "4 *", "2 *")
    checkout.build().expect(hits="leaf mid app", misses=0)
    assert checkout.program("app") == "42\n"
    checkout.fresh()
    checkout.same_bytes_as_plain()


def test_another_checkout_never_sees_it(box: Sandbox) -> None:
    """Guards sharing: a second checkout is served what was stored before, and compiles an edited state for itself."""
    first = box.checkout("a", chain())
    first.build()
    edited(first, "mid/src/lib.rs", "2 *", "3 *", "4 *")
    second = box.checkout("the/second/one", chain())
    second.build().expect(hits="leaf mid app", misses=0)
    assert not states(second)
    second.same_bytes_as_plain()
    second.edit("mid/src/lib.rs", "2 *", "3 *")
    second.build().expect(hits="mid app", misses=0)
    assert not states(second)
    second.edit("mid/src/lib.rs", "3 *", "4 *")
    second.build().expect(hits=0, misses="mid app")
    second.same_bytes_as_plain()
    second.fresh()
    first.fresh()
    # What an incremental compile could not give to others, a compile without has given.
    first.touch("mid/src/lib.rs")
    first.build().expect(hits="mid app", misses=0)
    first.same_bytes_as_plain()


def test_outputs_and_messages_are_those_of_an_unwrapped_build(box: Sandbox) -> None:
    """Guards behaviour: warnings, an error, the panic's place and the exit code come as without kache."""
    checkout = box.checkout("a", warns())
    checkout.build()
    edited(checkout, LIB, "unused", "idle", "spare")
    checkout.edit(MAIN, 'println!("{same}")', 'panic!("{same}")')
    checkout.build()
    checkout.edit(MAIN, 'panic!("{same}")', 'panic!("now {same}")')
    words = ("build", "--message-format=json")
    ours = checkout.cargo(*words).expect(passthroughs="warns", misses=0, hits=None)
    assert diagnostics(ours) == diagnostics(checkout.plain(*words))
    ran = checkout.cargo("run", fails=True)
    plain = checkout.plain("run", fails=True)
    assert ran.exit_code == plain.exit_code
    assert "panicked at src/main.rs:3:5" in ran.stderr and "panicked at src/main.rs:3:5" in plain.stderr
    checkout.edit(MAIN, "let mut same", "let same: u8")
    broken = checkout.cargo(*words, fails=True).expect(passthroughs="warns", hits=None)
    assert diagnostics(broken) == diagnostics(checkout.plain(*words, fails=True))
    checkout.edit(MAIN, "let same: u8", "let mut same")
    checkout.build().expect(passthroughs="warns", misses=0)
    checkout.fresh()


@pytest.mark.parametrize(
    ("settings", "file"),
    [
        ({"KACHE_INCREMENTAL": "off"}, ""),
        ({}, '[cache]\nincremental = "off"\n'),
        ({"CARGO_INCREMENTAL": "0"}, ""),
    ],
    ids=["environment", "file", "cargo"],
)
@mostly_daemon
def test_who_does_not_want_it_does_not_get_it(box: Sandbox, settings: dict[str, str], file: str) -> None:
    """Guards the setting, and that cargo's own word counts: then every compile is stored, as before."""
    box.settings |= settings
    checkout = box.checkout("a", hello())
    if file:
        checkout.write(".kache.toml", file)
    checkout.build()
    old = "world"
    for new in ("first", "second", "third"):
        checkout.edit(MAIN, old, new)
        checkout.build().expect(misses="hello", hits=0)
        old = new
    assert not states(checkout)
    second = box.checkout("b", hello())
    second.edit(MAIN, "world", "third")
    second.build().expect(hits="hello hello", misses=0)


@mostly_daemon
def test_a_release_build_is_not_incremental(box: Sandbox) -> None:
    """Guards profiles: where cargo asks for no incremental state there is none."""
    checkout = box.checkout("a", hello())
    checkout.build("--release")
    for old, new in (("world", "first"), ("first", "second")):
        checkout.edit(MAIN, old, new)
        checkout.build("--release").expect(misses="hello")
    assert not states(checkout)


def damage_nothing_left(state: Path) -> None:
    shutil.rmtree(state)


def damage_no_session(state: Path) -> None:
    for path in state.iterdir():
        shutil.rmtree(path)


def damage_empty_files(state: Path) -> None:
    for path in state.rglob("*"):
        if path.is_file() and path.suffix == ".bin":
            path.write_bytes(b"")


def damage_half_files(state: Path) -> None:
    for path in state.rglob("*"):
        if path.is_file() and path.suffix == ".bin":
            os.truncate(path, path.stat().st_size // 2)


def damage_objects(state: Path) -> None:
    for path in state.rglob("*.o"):
        path.chmod(0o644)
        os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize(
    "damage", [damage_nothing_left, damage_no_session, damage_empty_files, damage_half_files, damage_objects]
)
@mostly_daemon
def test_state_damaged_under_our_feet(box: Sandbox, damage: object) -> None:
    """Guards damaged state: at the latest the build after the next is right, whatever is left of it."""
    checkout = box.checkout("a", hello())
    checkout.build()
    edited(checkout, MAIN, "world", "first", "second", "third")
    (state,) = states(checkout)
    assert callable(damage)
    prepared(checkout)
    damage(state)
    checkout.edit(MAIN, "third", "fourth")
    try:
        checkout.build()
    except AssertionError:
        assert not state.exists(), "the compile failed and its state is still there"
        checkout.build().expect(misses="hello")
    assert checkout.program("hello") == "hello, fourth\n"
    checkout.fresh()
    checkout.edit(MAIN, "fourth", "fifth")
    checkout.build().expect(passthroughs=None)
    assert checkout.program("hello") == "hello, fifth\n"
    checkout.fresh()


@mostly_daemon
def test_rustc_killed_in_the_middle(box: Sandbox) -> None:
    """Guards interruption: no half of a session is ever used, whether rustc, cargo or the launcher was killed."""
    log = box.root / "slow.log"
    box.settings["SLOW_LOG"] = str(log)
    checkout = box.checkout("a", slow(0.4, "pub const N: u32 = 1;"))
    checkout.build()
    name = "slow/src/lib.rs"
    edited(checkout, name, "= 1", "= 2", "= 3")
    for number, victim in ((4, "rustc"), (5, "group")):
        prepared(checkout)
        log.write_text("")
        checkout.edit(name, f"= {number - 1}", f"= {number}")
        running = checkout.start("build")
        processes.until(log.read_text, what="rustc expands the macro")
        if victim == "rustc":
            os.kill(int(log.read_text().split()[1]), signal.SIGKILL)
        else:
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate(timeout=60)
        assert running.returncode != 0
        box.calls()
        assert sessions(checkout, "slow"), "the last finished session is gone"
        checkout.build().expect(passthroughs="slow", misses=0)
        checkout.fresh()


@mostly_daemon
def test_after_a_crash_the_next_compile_goes_without(box: Sandbox) -> None:
    """Guards against state that makes rustc crash: it is gone at once, and the unit is compiled as if new."""
    crasher = {
        "Cargo.toml": manifest("crasher", extra="[lib]\nproc-macro = true"),
        "src/lib.rs": """#[proc_macro]
pub fn maybe(_: proc_macro::TokenStream) -> proc_macro::TokenStream {
    if std::path::Path::new("crash").exists() { std::process::exit(101) }
    Default::default()
}
""",
    }
    user = {
        "Cargo.toml": manifest("user", deps={"crasher": "../crasher"}),
        "src/lib.rs": "crasher::maybe!();\npub const N: u32 = 1;\n",
    }
    checkout = box.checkout("a", {**workspace("crasher", "user"), **below("crasher", crasher), **below("user", user)})
    checkout.build()
    edited(checkout, "user/src/lib.rs", "= 1", "= 2", "= 3")
    prepared(checkout)
    (state,) = states(checkout)
    flag = checkout.write("crash", "")
    checkout.edit("user/src/lib.rs", "= 3", "= 4")
    crashed = checkout.build(fails=True)
    assert [call.reason for call in crashed.calls.of("user")] == ["incremental-crash"]
    assert not state.exists()
    flag.unlink()
    checkout.build().expect(misses="user")
    checkout.edit("user/src/lib.rs", "= 4", "= 5")
    checkout.build().expect(passthroughs="user")
    checkout.fresh()


@pytest.mark.parametrize("verb", ["check", "clippy"])
@mostly_daemon
def test_checks_are_edited_too(box: Sandbox, verb: str) -> None:
    """Guards editors: `cargo check` and clippy have edits and state of their own, beside those of a build."""
    if verb == "clippy" and not has_component("clippy-driver"):
        pytest.skip("needs clippy")
    checkout = box.checkout("a", warns())
    checkout.build()
    checkout.cargo(verb)
    checkout.edit(LIB, "unused", "idle")
    checkout.cargo(verb).expect(misses="warns warns", hits=None)
    checkout.edit(LIB, "idle", "spare")
    words = (verb, "--message-format=json")
    ours = checkout.cargo(*words).expect(passthroughs="warns warns", misses=0)
    assert diagnostics(ours) == diagnostics(checkout.plain(*words))
    checkout.fresh(verb)
    checkout.edit(LIB, "spare", "unused")
    checkout.cargo(verb).expect(hits="warns warns", misses=0)
    checkout.build().expect(hits=None, misses=0)
    checkout.fresh("build")


def test_tests_above_an_edited_library(daemon_box: Sandbox) -> None:
    """Guards the store: what is compiled for the first time against an incremental library is of use to nobody else."""
    checkout = daemon_box.checkout("a", hello())
    checkout.build()
    edited(checkout, LIB, "hello, ", "hi, ", "ho, ")
    stored = entries(daemon_box)
    tested = checkout.test("--no-run", "--bins")
    assert [call.reason for call in tested.calls.misses] == ["incremental-extern"]
    assert entries(daemon_box) == stored
    checkout.edit(MAIN, "world", "moon")
    checkout.test("--no-run", "--bins").expect(misses="hello")
    checkout.edit(MAIN, "moon", "sun")
    checkout.test("--no-run", "--bins").expect(passthroughs="hello", misses=0)
    checkout.fresh("test", "--no-run", "--bins")
    checkout.edit(MAIN, "sun", "world")
    checkout.edit(LIB, "ho, ", "hello, ")
    checkout.build().expect(hits="hello hello", misses=0)


@mostly_daemon
def test_builds_without_kache_in_between(box: Sandbox) -> None:
    """Guards cargo's own incremental state: neither reads the other's, and all builds are right."""
    checkout = box.checkout("a", hello())
    without = {"RUSTC_WRAPPER": ""}
    checkout.build(env=without)
    checkout.edit(MAIN, "world", "first")
    checkout.build().expect(misses="hello", hits=0)
    checkout.edit(MAIN, "first", "second")
    checkout.build(env=without)
    assert checkout.program("hello") == "hello, second\n"
    checkout.edit(MAIN, "second", "third")
    checkout.build().expect(passthroughs="hello")
    assert checkout.program("hello") == "hello, third\n"
    checkout.fresh()
    assert "Compiling" not in checkout.build(env=without).stderr


@mostly_daemon
def test_people_are_told(box: Sandbox) -> None:
    """Guards `stats` and `why-miss`: an edit has a reason of its own, and what was edited is named."""
    checkout = box.checkout("a", hello())
    checkout.build()
    edited(checkout, MAIN, "world", "first", "second")
    assert box.data("stats")["passthrough_reasons"] == {EDIT: 1}
    (why,) = box.data("why-miss", exit_code=0)["misses"]
    assert (why["outcome"], why["reason"], why["cause"]) == ("passthrough", EDIT, "inputs-changed")
    assert [change["label"] for change in why["changes"]] == ["<cwd>/src/main.rs"]
    assert re.search(rf"hello bin: 1 input changed .*\({EDIT}\)", box.kache("why-miss").stdout)
