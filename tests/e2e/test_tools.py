"""The tools around cargo: git, editors, documentation tests, snapshots of messages, cargo's own layouts."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon
from tests.support.projects import Files, alone, below, chain, everything, lib, manifest, warns, workspace
from tests.support.sandbox import Sandbox, has_component
from tests.support.states import prints

NO_WRAPPER = {"RUSTC_WRAPPER": ""}


def git(checkout: Checkout, *words: str) -> None:
    """Run git in a checkout."""
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=one"]
    subprocess.run(["git", *who, *words], cwd=checkout.path, env=checkout.box.env(), capture_output=True, check=True)


needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")


@needs_git
def test_branches_switched_in_one_checkout(box: Sandbox) -> None:
    """Guards `git switch`: each branch gets its own build back, right, from the store, and cargo is content."""
    checkout = box.checkout("a", everything() | {".gitignore": "target*\nCargo.lock\n"})
    git(checkout, "init", "-q")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "one")
    checkout.build().expect(misses=5)
    git(checkout, "switch", "-qc", "two")
    checkout.edit("macros/src/lib.rs", '"7u32"', '"8u32"')
    checkout.write("app/src/more.rs", "pub fn more() -> u32 { 100 }\n")
    checkout.edit("app/src/main.rs", "fn main()", "mod more;\nfn main()")
    checkout.edit("app/src/main.rs", "both::total()", "both::total() + more::more()")
    git(checkout, "add", ".")
    git(checkout, "commit", "-qm", "two")
    checkout.build().expect(misses="macros both app")
    for branch, printed in (("one", "13\n"), ("two", "114\n"), ("one", "13\n")):
        git(checkout, "switch", "-q", branch)
        checkout.build().expect(hits="macros both app", misses=0)
        assert prints(checkout, "app") == printed
        checkout.fresh()


@needs_git
def test_worktrees_of_one_repository(box: Sandbox) -> None:
    """Guards `git worktree`: branches side by side share what they have in common and nothing else."""
    first = box.checkout("repo", chain() | {".gitignore": "target*\nCargo.lock\n"})
    git(first, "init", "-q")
    git(first, "add", ".")
    git(first, "commit", "-qm", "one")
    first.build().expect(misses=3)
    git(first, "worktree", "add", "-q", "-b", "two", str(box.root / "repo/trees/two"))
    second = box.checkout("repo/trees/two", {})
    second.build().expect(hits=3, misses=0)
    second.edit("mid/src/lib.rs", "2 *", "3 *")
    second.build().expect(hits=0, misses="mid app")
    assert (first.program("app"), second.program("app")) == ("42\n", "63\n")
    first.fresh()
    second.same_bytes_as_plain()


# ---- commands in turn


ANALYZER = ("check", "--quiet", "--workspace", "--message-format=json", "--all-targets", "--keep-going")
"""What rust-analyzer 1.95 runs when a file is saved (`cargo.check` with its defaults)."""


def test_every_command_in_one_target(box: Sandbox) -> None:
    """Guards mixed use: check, an editor's check, clippy, build, test and doc over one target stay fresh and right."""
    commands: list[tuple[str, ...]] = [("check",), ANALYZER, ("build",), ("test", "--no-run"), ("build", "--release")]
    if has_component("clippy-driver"):
        commands.append(("clippy",))
    if has_component("rustdoc"):
        commands.append(("doc",))
    # Without a cdylib, whose one file cargo itself has compiled anew when another command needs it otherwise.
    first, second = box.checkout("a", warns()), box.checkout("the/second", warns())
    for words in commands:
        first.cargo(*words).expect(misses=None, hits=None)
    for words in reversed(commands):
        second.cargo(*words).expect(hits=None, misses=0)
    for words in commands:
        if words[0] != "doc":
            second.fresh(*(word for word in words if word != "--quiet"))
    assert prints(second, "warns") == "4\n"


@mostly_daemon
def test_what_an_editor_asks_for(box: Sandbox) -> None:
    """Guards rust-analyzer: its calls hit, its messages name this checkout's files, before and after an error."""
    files = warns()
    box.checkout("a", files).cargo(*ANALYZER).expect(misses=None)
    second = box.checkout("the/second", files)
    built = second.cargo(*ANALYZER)
    built.expect(hits=4, misses=0)
    assert built.json == second.plain(*ANALYZER).json
    second.edit("src/lib.rs", "4\n", '"4"\n')
    broken = second.cargo(*ANALYZER, fails=True)
    plain = second.plain(*ANALYZER, fails=True)
    assert broken.json == plain.json
    second.edit("src/lib.rs", '"4"\n', "4\n")
    second.cargo(*ANALYZER).expect(misses=0, hits=None)


@mostly_daemon
def test_an_editor_with_a_target_dir_of_its_own(box: Sandbox) -> None:
    """Guards `cargo.targetDir`: the editor's second target dir is served from what the shell's commands compiled."""
    checkout = box.checkout("a", everything())
    checkout.check("--all-targets")
    words = (*ANALYZER, "--target-dir", str(checkout.path / "target/rust-analyzer"))
    checkout.cargo(*words).expect(hits=None, misses=0)
    checkout.fresh("check", "--all-targets")


# ---- documentation tests, fixes, snapshots


DOCUMENTED = """/// Doubles.
///
/// ```
/// assert_eq!(thing::double(2), 4);
/// ```
pub fn double(x: u32) -> u32 { x * 2 }
"""


@pytest.mark.skipif(shutil.which("rustdoc") is None, reason="needs rustdoc")
@mostly_daemon
def test_documentation_tests(box: Sandbox) -> None:
    """Guards `cargo test --doc`: rustdoc compiles against a restored library, and a broken one fails as it should."""
    box.checkout("a", lib(DOCUMENTED)).test("--doc").expect(misses=None)
    second = box.checkout("second", lib(DOCUMENTED))
    ran = second.test("--doc")
    ran.expect(hits=1, misses=0)
    assert "1 passed" in ran.stdout
    second.edit("src/lib.rs", "x * 2", "x * 3")
    failed = second.test("--doc", fails=True)
    assert "1 failed" in failed.stdout and "src/lib.rs" in failed.stdout
    failed.expect(misses=1)


@mostly_daemon
def test_cargo_fix_after_hits(box: Sandbox) -> None:
    """Guards `cargo fix`: with everything restored it mends this checkout, and what it mended then compiles anew."""
    for name in ("a", "second"):
        checkout = box.checkout(name, warns())
        checkout.check("--all-targets")
        checkout.clean().check("--all-targets").expect(misses=0, hits=None)
        checkout.cargo("fix", "--allow-no-vcs", "--all-targets").expect(hits=None, misses=None, passthroughs=None)
        assert "let same" in (checkout.path / "src/main.rs").read_text()
        mended = checkout.clean().check("--all-targets")
        assert "unused" not in mended.stderr
        assert mended.messages == checkout.plain("check", "--all-targets").messages


CASE = '[[bin]]\nname = "case"\npath = "case.rs"\n\n[workspace]\n'


def snapshot_project() -> Files:
    """As the crate trybuild lays it out: a project in the target dir of the one under test, with its own target."""
    app = {
        "Cargo.toml": manifest("thing-tests", deps={"thing": "../../../.."}, extra=CASE),
        "case.rs": 'fn main() {\n    thing::only_numbers("text");\n}\n',
    }
    return lib("pub fn only_numbers(_: u32) {}\n") | below("target/tests/trybuild/thing", app)


@mostly_daemon
def test_snapshots_of_messages(box: Sandbox) -> None:
    """Guards trybuild: errors it compares with snapshots are those of plain rustc, with the paths it replaces."""
    for name in ("a", "the/second"):
        outer = box.checkout(name, snapshot_project())
        inner = box.checkout(f"{name}/target/tests/trybuild/thing", {})
        words = ("check", "--bin", "case", "--message-format=json", "--target-dir", str(outer.target / "tests/target"))
        for _ in range(2):
            failed = inner.cargo(*words, fails=True)
            shutil.rmtree(outer.target / "tests/target")
            plain = inner.cargo(*words, fails=True, env=NO_WRAPPER, count=False)
            assert failed.json == plain.json and "E0308" in failed.stdout
            shutil.rmtree(outer.target / "tests/target")


@pytest.mark.skipif(shutil.which("cargo-nextest") is None, reason="needs cargo-nextest")
def test_nextest(box: Sandbox) -> None:
    """Guards cargo-nextest: harnesses it lists and runs one by one come out of the store."""
    box.checkout("a", everything()).cargo("nextest", "run").expect(misses=None)
    second = box.checkout("second", everything())
    ran = second.cargo("nextest", "run")
    ran.expect(hits=None, misses=0)
    assert "1 passed" in ran.stderr


# ---- cargo's layouts


LAYOUTS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "a build dir of its own": ((), {"CARGO_BUILD_BUILD_DIR": "{checkout}/built"}),
    "a build dir outside": ((), {"CARGO_BUILD_BUILD_DIR": "{root}/builds/{name}"}),
    "the new layout": (("-Zbuild-dir-new-layout",), {"RUSTC_BOOTSTRAP": "1"}),
    "the new layout in a build dir": (
        ("-Zbuild-dir-new-layout",),
        {"RUSTC_BOOTSTRAP": "1", "CARGO_BUILD_BUILD_DIR": "{checkout}/built"},
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@mostly_daemon
def test_cargos_layouts(box: Sandbox, layout: str) -> None:
    """Guards build-dir: intermediate files elsewhere, one directory a unit, are found, restored and fresh."""
    flags, env = LAYOUTS[layout]
    for number, name in enumerate(("a", "second")):
        checkout = box.checkout(name, everything())
        here = {key: value.format(checkout=checkout.path, root=box.root, name=name) for key, value in env.items()}
        built = checkout.build(*flags, env=here)
        built.expect(hits=5 * number, misses=5 * (1 - number))
        assert checkout.program("app") == "13\n"
        work = checkout.build("-v", *flags, env=here)
        assert "Running" not in work.stderr and not work.calls.all, work.stderr
        checkout.edit("macros/src/lib.rs", '"7u32"', '"8u32"')
        checkout.build(*flags, env=here).expect(hits=3 * number, misses=3 * (1 - number))
        assert checkout.program("app") == "14\n"


def test_a_package_without_a_wrapper_in_the_middle(box: Sandbox) -> None:
    """Guards tools that set no wrapper (an editor's own cargo): what they leave is used, and right."""
    checkout = box.checkout("a", {**workspace("app", "mid", "leaf"), **chain()})
    checkout.build().expect(misses=3)
    for number in ("22", "23"):
        checkout.edit("leaf/src/lib.rs", "21" if number == "22" else "22", number)
        checkout.check(env=NO_WRAPPER, count=False)
        checkout.cargo("build", "-p", "leaf", env=NO_WRAPPER, count=False)
        checkout.build()
        assert checkout.program("app") == f"{2 * int(number)}\n"
        checkout.fresh()
    checkout.edit("leaf/src/lib.rs", "23", "21")
    checkout.build().expect(hits=3, misses=0)


@mostly_daemon
def test_one_package_of_many(box: Sandbox) -> None:
    """Guards feature unification: `-p one` and the workspace compile a shared crate differently, and keep both."""
    shared = {"Cargo.toml": manifest("shared", extra="[features]\nloud = []"), "src/lib.rs": ""}
    shared["src/lib.rs"] = 'pub fn say() -> &\'static str { if cfg!(feature = "loud") { "LOUD" } else { "quiet" } }\n'
    files = {**workspace("one", "two", "shared"), **below("shared", shared)}
    for name, features in (("one", ""), ("two", ', features = ["loud"]')):
        text = manifest(name).replace("[dependencies]", f'[dependencies]\nshared = {{ path = "../shared"{features} }}')
        files |= below(name, {"Cargo.toml": text, "src/main.rs": 'fn main() { println!("{}", shared::say()); }\n'})
    checkout = box.checkout("a", files)
    checkout.build()
    assert checkout.program("one") == "LOUD\n"
    for _ in range(2):
        checkout.clean().build("-p", "one")
        assert checkout.program("one") == "quiet\n"
        checkout.clean().build().expect(misses=0)
        assert (checkout.program("one"), checkout.program("two")) == ("LOUD\n", "LOUD\n")
    checkout.clean().build("-p", "one").expect(hits=2, misses=0)


def test_a_crate_used_twice_under_two_names(box: Sandbox) -> None:
    """Guards renamed dependencies: the name a crate is used by is in the key of its user alone."""
    dep = {"Cargo.toml": manifest("dep"), "src/lib.rs": "pub fn n() -> u32 { 4 }\n"}
    app = alone(
        {
            "Cargo.toml": manifest("app").replace(
                "[dependencies]", '[dependencies]\nfirst = { path = "dep", package = "dep" }'
            ),
            "src/main.rs": 'fn main() { println!("{}", first::n()); }\n',
            **below("dep", dep),
        }
    )
    box.checkout("a", app).build().expect(misses=2)
    renamed = {name: text.replace("first", "other") for name, text in app.items()}
    second = box.checkout("second", renamed)
    second.build().expect(hits="dep", misses="app")
    assert prints(second, "app") == "4\n"
