"""Places: nested, linked, moved, one inside another. What is shared is shared, and each checkout names its own."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon, warm_too
from tests.support.projects import Files, alone, below, chain, everything, manifest, workspace
from tests.support.sandbox import Sandbox
from tests.support.states import prints

pytestmark = warm_too

WHERE = """fn main() {
    println!("{} {}", file!(), deeper::place());
    if std::env::args().count() > 1 { deeper::fail(); }
}
"""
DEEPER = """pub fn place() -> &'static str { file!() }
#[inline(never)]
pub fn fail() { panic!("asked for") }
"""


def telling(dep: str = "../deeper") -> Files:
    """A workspace whose program says where its sources are, and panics when asked."""
    return {
        **workspace("app", *(["deeper"] if dep == "../deeper" else [])),
        **below("app", {"Cargo.toml": manifest("app", deps={"deeper": dep}), "src/main.rs": WHERE}),
        "deeper/Cargo.toml": manifest("deeper"),
        "deeper/src/lib.rs": DEEPER,
    }


def panic_of(checkout: Checkout) -> str:
    """What the program says when it panics, less the number of its thread."""
    done = subprocess.run(
        [checkout.target / "debug/app", "now"],
        cwd=checkout.path,
        env=checkout.box.env({"RUST_BACKTRACE": "0"}),  # a backtrace shows the stable names of debug info
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 101
    return done.stderr.partition(" panicked at ")[2].partition("\nnote:")[0]


@pytest.mark.parametrize("inner", ["wt/b", "target-of-mine/b", "app/src/b"])
@mostly_daemon
def test_a_worktree_inside_a_checkout(box: Sandbox, inner: str) -> None:
    """Guards nested worktrees: the one inside has its own workspace, and the one around it does not shine through."""
    outer = box.checkout("a", everything())
    outer.build().expect(misses=5)
    nested = box.checkout(f"a/{inner}", everything())
    nested.build().expect(hits=5, misses=0)
    nested.same_bytes_as_plain()
    nested.edit("generated/src/lib.rs", ".sum()", ".sum::<u32>() + 1")
    nested.build().expect(misses="generated both app", hits=0)
    assert (nested.program("app"), outer.program("app")) == ("14\n", "13\n")
    nested.fresh()
    outer.fresh()


def test_a_workspace_inside_another(box: Sandbox) -> None:
    """Guards roots: two workspaces, one below the other, built in turn; each crate counts from its own root."""
    files = {f"tools/{name}": text for name, text in telling().items()} | telling()
    files["Cargo.toml"] += 'exclude = ["tools"]\n'
    for name in ("a", "second/place"):
        outer = box.checkout(name, files)
        inner = box.checkout(f"{name}/tools", {})
        for checkout in (outer, inner):
            checkout.build().expect(hits=2 if name != "a" or checkout is inner else 0, misses=None)
            assert prints(checkout, "app") == "app/src/main.rs deeper/src/lib.rs\n"
            checkout.same_bytes_as_plain()
            checkout.fresh()


@pytest.mark.parametrize("absolute", [False, True], ids=["relative", "absolute"])
@mostly_daemon
def test_a_target_dir_behind_a_link(box: Sandbox, absolute: bool) -> None:
    """Guards targets on another disk: a symlinked target is a target, with the same keys and fresh afterwards."""
    box.checkout("a", everything()).build()
    second = box.checkout("the/second/one", everything())
    elsewhere = box.root / "big-disk"
    elsewhere.mkdir()
    second.target.symlink_to(elsewhere if absolute else "../../../big-disk")
    second.build().expect(hits=5, misses=0)
    assert second.program("app") == "13\n"
    second.fresh()
    assert (elsewhere / "debug/app").is_file() and second.target.is_symlink()


def test_a_checkout_that_was_moved(box: Sandbox) -> None:
    """Guards `mv`: what was built under the old name is not trusted blindly, and what is built tells the new one."""
    first = box.checkout("a", telling("../deeper"))
    first.build().expect(misses=2)
    shutil.move(first.path, box.root / "moved")
    moved = box.checkout("moved", {})
    moved.build().expect(misses=0, hits=None)
    assert prints(moved, "app") == "app/src/main.rs deeper/src/lib.rs\n"
    moved.clean().build().expect(hits=2, misses=0)
    moved.fresh()
    again = box.checkout("a", telling("../deeper"))
    again.build().expect(hits=2, misses=0)


@pytest.mark.parametrize("dep", ["../deeper", "../../deeper"], ids=["member", "outside"])
@mostly_daemon
def test_panics_and_file_macros_name_the_sources_of_the_checkout_that_runs(box: Sandbox, dep: str) -> None:
    """Guards places in programs: `file!()` and panics are what they are without kache, in each checkout."""
    for name in ("a", "the/second"):
        files = telling(dep)
        if dep == "../deeper":
            checkout = box.checkout(name, files)
        else:
            box.checkout(name, {f"ws/{path}" if not path.startswith("deeper") else path: files[path] for path in files})
            checkout = box.checkout(f"{name}/ws", {})
        for _ in range(2):
            checkout.clean().build()
            prints(checkout, "app")
            ours = panic_of(checkout)
            with checkout._target_aside():
                checkout.cargo("build", env={"RUSTC_WRAPPER": ""}, count=False)
                assert ours == panic_of(checkout)
        checkout.build().expect(hits=0, misses=0)


@pytest.mark.skipif(shutil.which("gdb") is None, reason="needs gdb")
@mostly_daemon
def test_a_debugger_finds_the_sources_of_the_checkout_it_is_started_in(box: Sandbox) -> None:
    """Guards debug info: a program restored from a checkout that is gone is debugged with the sources here."""
    main = "fn main() {\n    marked(3);\n}\n\n#[inline(never)]\n"
    main += 'fn marked(x: u32) {\n    println!("{x}"); // here it stops\n}\n'
    files = alone({"Cargo.toml": manifest("app"), "src/main.rs": main})
    first = box.checkout("a", files)
    first.build().expect(misses=1)
    shutil.rmtree(first.path)
    second = box.checkout("the/second/one", files)
    second.build().expect(hits=1, misses=0)
    steps = ("break app::marked", "run", "list", "print x", "backtrace")
    argv = ["gdb", "-q", "-batch", "-nx", *(word for step in steps for word in ("-ex", step)), "target/debug/app"]
    done = subprocess.run(
        argv, cwd=second.path, env=box.env(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if "ptrace" in done.stderr or ("Cannot" in done.stderr and "Breakpoint 1," not in done.stdout):
        pytest.skip(f"gdb cannot run programs here: {done.stderr[-200:]}")
    assert "here it stops" in done.stdout and "$1 = 3" in done.stdout, done.stdout + done.stderr
    assert "src/main.rs:7" in done.stdout or "src/main.rs:6" in done.stdout


@mostly_daemon
def test_two_crates_of_one_name(box: Sandbox) -> None:
    """Guards names: two crates called alike, of two packages of one workspace, are never taken for one another."""
    files: Files = {**workspace("one/app", "two/app2", "one/same", "two/same")}
    for directory, name in (("one", "app"), ("two", "app2")):
        package = f"same-{directory}"
        app = {
            "Cargo.toml": manifest(name, deps={package: "../same"}),
            "src/main.rs": 'fn main() { println!("{}", same::say()); }\n',
        }
        same = {
            "Cargo.toml": manifest(package, extra='[lib]\nname = "same"'),
            "src/lib.rs": f'pub fn say() -> &\'static str {{ "{directory}" }}\n',
        }
        files |= below(f"{directory}/{name}", app) | below(f"{directory}/same", same)
    for number, place in enumerate(("a", "second")):
        checkout = box.checkout(place, files)
        checkout.build().expect(hits=4 * number, misses=4 * (1 - number))
        assert (checkout.program("app"), checkout.program("app2")) == ("one\n", "two\n")


@mostly_daemon
def test_the_same_project_as_chain_with_its_members_renamed(box: Sandbox) -> None:
    """Guards directories of members: a member moved within its workspace is compiled under its new place."""
    files = chain()
    box.checkout("a", files).build()
    moved = {name.replace("leaf/", "crates/leaf/"): text for name, text in files.items()}
    moved["Cargo.toml"] = moved["Cargo.toml"].replace('"leaf"', '"crates/leaf"')
    moved["mid/Cargo.toml"] = moved["mid/Cargo.toml"].replace("../leaf", "../crates/leaf")
    second = box.checkout("second", moved)
    second.build().expect(hits=0, misses=3)
    second.same_bytes_as_plain()
    box.checkout("third", moved).build().expect(hits=3, misses=0)
