"""Warm start: whole units in a fresh target, cargo the judge, never a result plain cargo would not make."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import slow
from tests.support.projects import alone, chain, everything, manifest
from tests.support.registry import LocalRegistry
from tests.support.sandbox import KACHE, Sandbox, host_triple


def seeded(checkout: Checkout, *words: str) -> list[str]:
    """Build, and give the crates that were in place before cargo asked; nothing is left to do afterwards."""
    built = checkout.cargo(*(words or ("build",)))
    found = [call.crate for call in built.calls.all if call.outcome == "seeded"]
    checkout.fresh(*(words or ("build",)))
    return found


def test_a_second_checkout_is_served_before_cargo_asks(warm_box: Sandbox) -> None:
    """Guards the promise: sources untouched but newer, and rustc is not called once."""
    warm_box.checkout("a", chain()).build()
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
    second = warm_box.checkout("the/second/one", everything())
    second.edit("macros/src/lib.rs", '"7u32"', '"8u32"')
    second.edit("app/tests/whole.rs", "13", "14")
    assert "macros" not in seeded(second, "test", "--no-run")
    second.test().expect(hits=0, misses=0)
    first.fresh("test", "--no-run")


def test_a_file_saved_after_placing_is_newer(warm_box: Sandbox) -> None:
    """Guards the race between placing and an editor: the very next save counts."""
    warm_box.checkout("a", chain()).build()
    second = warm_box.checkout("b", chain())
    assert seeded(second)
    edit_something(second, random.Random(1))
    assert second.build().calls.all
    same_behaviour(second)


def test_one_target_serves_check_and_then_test(warm_box: Sandbox) -> None:
    """Guards what cargo asks once: a target that began with a check is served for the tests as well."""
    warm_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    first = warm_box.checkout("a", everything())
    for words in (("build",), ("check",), ("test", "--no-run")):
        first.cargo(*words)
    second = warm_box.checkout("b", everything())
    assert set(seeded(second, "check")) >= {"macros", "both", "app"}
    built = second.test("--no-run")
    assert not built.calls.misses and {call.kind for call in built.calls.hits} <= {"test", "bin"}
    second.fresh("test", "--no-run")
    second.test().expect(hits=0, misses=0)


def test_commands_in_targets_of_their_own_add_up(warm_box: Sandbox) -> None:
    """Guards what is known of a workspace: a check elsewhere does not make it forget what builds left."""
    warm_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    warm_box.checkout("a", everything()).build()
    warm_box.checkout("elsewhere", everything()).cargo("check", env={"CARGO_TARGET_DIR": str(warm_box.root / "t")})
    built = warm_box.checkout("b", everything()).build()
    assert not built.calls.hits and not built.calls.misses


def test_branches_that_take_turns_are_both_served(warm_box: Sandbox) -> None:
    """Guards worktrees of two branches: cargo names a crate's units alike whatever its sources say."""
    other = chain()
    other["leaf/src/lib.rs"] = other["leaf/src/lib.rs"].replace("21", "4")
    for number in range(2):
        for branch, files in (("main", chain()), ("other", other)):
            checkout = warm_box.checkout(f"{branch}{number}", files)
            built = checkout.build()
            if number:
                assert not built.calls.hits and not built.calls.misses, str(built.calls)
            assert checkout.program("app") == ("42\n" if branch == "main" else "8\n")
            checkout.fresh()


@pytest.mark.parametrize("what", ["a target triple", "the release profile"])
def test_other_profiles_and_targets_are_served(warm_box: Sandbox, what: str) -> None:
    """Guards target triples, whose units stand on macros and build scripts in a directory beside, and profiles."""
    words = ("build", "--release") if what == "the release profile" else ("build", "--target", host_triple())
    warm_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    warm_box.checkout("a", everything()).cargo(*words)
    second = warm_box.checkout("b", everything())
    built = second.cargo(*words)
    assert not built.calls.hits and not built.calls.misses, str(built.calls)
    second.fresh(*words)


def registry_crates(box: Sandbox) -> LocalRegistry:
    """Two crates of a registry: `plain`, and `scripted` with a build script that writes what it includes."""
    registry = LocalRegistry(box.root / "registry")
    for name, script in (("plain", ""), ("scripted", _SCRIPT)):
        files = {"Cargo.toml": manifest(name).replace("0.1.0", "1.0.0"), "src/lib.rs": "pub fn number() -> u32 { 5 }\n"}
        if script:
            files |= {"build.rs": script, "src/lib.rs": 'include!(concat!(env!("OUT_DIR"), "/n.rs"));\n'}
        registry.publish(name, files)
    registry.serve(box.cargo_home)
    return registry


_SCRIPT = """fn main() {
    println!("cargo:rerun-if-changed={}/src/lib.rs", std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/n.rs"), "pub fn number() -> u32 { 6 }\\n").unwrap();
}
"""


def user_of(name: str, *crates: str) -> dict[str, str]:
    """A program that adds up what crates of the registry give."""
    calls = " + ".join(f"{crate}::number()" for crate in crates)
    deps = "".join(f'{crate} = "1"\n' for crate in crates)
    return alone(
        {
            "Cargo.toml": manifest(name) + deps,
            "src/main.rs": f'fn main() {{ println!("{{}}", {calls}); }}\n',
        }
    )


def test_a_new_workspace_is_served_what_it_shares_with_others(warm_box: Sandbox) -> None:
    """Guards first builds: dependencies another project compiled, and the runs of their build scripts, are in place."""
    registry_crates(warm_box)
    warm_box.checkout("first", user_of("one", "plain", "scripted")).build()
    other = warm_box.checkout("second", user_of("two", "scripted"))
    other.cargo("generate-lockfile", "--offline", count=False)
    built = other.build("--offline")
    found = [(call.crate, call.kind) for call in built.calls.all if call.outcome == "seeded"]
    assert sorted(found) == [
        ("scripted", "build-script"),
        ("scripted", "build-script-run"),
        ("scripted", "lib"),
    ], str(built.calls)
    assert [call.crate for call in built.calls.misses] == ["two"]
    assert other.program("two") == "6\n"
    other.fresh("build", "--offline")


def test_another_cargo_home_gets_hits_and_a_reason(warm_box: Sandbox) -> None:
    """Guards people's time: cargo would rebuild what was placed, so it is not, and why-miss says so."""
    registry = registry_crates(warm_box)
    warm_box.checkout("a", user_of("one", "plain")).build()
    home = warm_box.root / "other-cargo-home"
    registry.serve(home)
    second = warm_box.checkout("b", user_of("one", "plain"))
    built = second.build(env={"CARGO_HOME": str(home)})
    assert not built.calls.misses
    assert "plain lib: not put into the target beforehand, other-cargo-home" in warm_box.kache("why-miss").stdout


def test_why_miss_names_the_file_that_kept_a_unit_out(warm_box: Sandbox) -> None:
    """Guards the answer to "why was this built": the file, and what was left out with it; counted in `stats`."""
    warm_box.checkout("a", chain()).build()
    files = chain()
    files["mid/src/lib.rs"] = files["mid/src/lib.rs"].replace("2 *", "3 *")
    warm_box.checkout("b", files).build()
    told = warm_box.kache("why-miss").stdout
    assert "mid lib: not put into the target beforehand, input-differs, file <cwd>/mid/src/lib.rs" in told
    assert "app bin: not put into the target beforehand, dependency-left-out" in told
    found = warm_box.data("stats", "--last-build")
    assert found["warm_start"]["units"] == 1 and found["warm_start"]["left"] == 2
    assert found["outcomes"]["seeded"] == 1 and found["left_reasons"] == {"dependency-left-out": 1, "input-differs": 1}
    assert "warm start: 1 unit in place before cargo asked" in warm_box.kache("stats", "--last-build").stdout


def test_runs_of_the_checkouts_own_build_scripts_are_served_where_declarations_will_do(warm_box: Sandbox) -> None:
    """Guards the setting: what a script declared decides; without the setting it runs again, and all above are hits."""
    counter = warm_box.root / "runs"
    files = everything()
    files["generated/build.rs"] = files["generated/build.rs"].replace(
        "fn main() {",
        'fn main() {\n    println!("cargo:rerun-if-changed=input.txt");\n    use std::io::Write;\n    '
        f'std::fs::OpenOptions::new().append(true).create(true).open("{counter}").unwrap().write_all(b".").unwrap();',
    )
    files["generated/input.txt"] = "one"
    for declared, runs in (("packages", 2), ("declared", 1)):
        env = {"KACHE_WARM_START_SCRIPTS": declared, "KACHE_KEY_SALT": declared}
        counter.write_text("")
        warm_box.checkout(f"a-{declared}", files).build(env=env)
        second = warm_box.checkout(f"b-{declared}", files)
        assert not second.build(env=env).calls.misses
        assert second.program("app") == "13\n"
        assert len(counter.read_text()) == runs
        second.write("generated/input.txt", "two")
        second.build(env=env)
        assert len(counter.read_text()) == runs + 1
    third = warm_box.checkout("c", files | {"generated/input.txt": "three"})
    third.build(env=env)
    assert len(counter.read_text()) == runs + 2


def kache_cargo(checkout: Checkout, *words: str) -> list[str]:
    """Run `kache cargo` in a checkout, and give the crates it put into the target directory."""
    argv = [str(KACHE), "cargo", *words]
    env = checkout.box.env({"RUSTC_WRAPPER": ""})
    done = subprocess.run(argv, cwd=checkout.path, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    calls = checkout.box.calls()
    assert not calls.misses, str(calls)
    return [call.crate for call in calls.all if call.outcome == "seeded"]


def test_kache_cargo_fills_up_a_target_that_exists(warm_box: Sandbox) -> None:
    """Guards `kache cargo`: what an existing target lacks is put there; what it has stays, and all fits together."""
    warm_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    warm_box.checkout("a", everything()).test("--no-run")
    second = warm_box.checkout("b", everything())
    second.cargo("build", "-p", "macros", env={"KACHE_WARM_START": "0"})
    kept = {path: path.stat().st_ino for path in (second.target / "debug" / "deps").iterdir()}
    assert "macros" in {path.name.split("-")[0].removeprefix("lib") for path in kept}
    assert set(kache_cargo(second, "test", "--no-run")) >= {"both", "app"}
    assert all(path.stat().st_ino == inode for path, inode in kept.items())
    second.fresh("test", "--no-run")
    second.test().expect(hits=0, misses=0)
    same_behaviour(second)


def test_kache_cargo_leaves_what_others_were_built_on_to_cargo(warm_box: Sandbox) -> None:
    """Guards consistency: under units that are there already nothing is slipped in that they were not built on."""
    warm_box.checkout("a", chain()).build()
    second = warm_box.checkout("b", chain())
    second.build()
    second.cargo("clean", "-p", "leaf", count=False)
    assert "leaf" not in kache_cargo(second, "build")
    second.fresh()
    same_behaviour(second)


def test_kache_cargo_meets_a_held_lock_and_a_dead_daemon(warm_box: Sandbox) -> None:
    """Guards the front: without a daemon, or with the setting off, it is cargo with hits."""
    warm_box.checkout("a", chain()).build()
    warm_box.settings["KACHE_WARM_START"] = "0"
    assert kache_cargo(warm_box.checkout("b", chain()), "build") == []
    warm_box.settings |= {"KACHE_WARM_START": "1", "KACHE_DAEMON": "0"}
    assert kache_cargo(warm_box.checkout("c", chain()), "build") == []


def test_a_store_that_lost_its_blobs_serves_what_it_has(warm_box: Sandbox) -> None:
    """Guards eviction: a unit whose files are gone is cargo's to build, and nothing half-placed is believed."""
    warm_box.checkout("a", everything()).build()
    for number, blob in enumerate(sorted(warm_box.blobs())):
        if number % 3 == 0:
            blob.unlink()
    second = warm_box.checkout("b", everything())
    second.build()
    second.fresh()
    same_behaviour(second)


def test_a_target_on_another_filesystem_is_served(warm_box: Sandbox) -> None:
    """Guards copies: where nothing can be linked, dates hold all the same."""
    elsewhere = Path("/dev/shm") / warm_box.root.name
    warm_box.at_end(lambda: shutil.rmtree(elsewhere, ignore_errors=True))
    if not elsewhere.parent.is_dir() or elsewhere.parent.stat().st_dev == warm_box.root.stat().st_dev:
        pytest.skip("needs a second filesystem at /dev/shm")
    env = {"CARGO_TARGET_DIR": str(elsewhere)}
    warm_box.checkout("a", everything()).build()
    second = warm_box.checkout("b", everything())
    built = second.build(env=env)
    assert not built.calls.misses and [call for call in built.calls.all if call.outcome == "seeded"]
    built = second.cargo("build", "-v", env=env)
    assert "Dirty" not in built.stderr and not built.calls.all


def test_a_linker_that_writes_in_place_keeps_programs_apart(warm_box: Sandbox) -> None:
    """Guards shared inodes: with mold at hand a build script of a package is a file of its own in each target."""
    registry_crates(warm_box)
    programs = [_script_program(warm_box.checkout(name, user_of("one", "scripted")), env={}) for name in ("a", "b")]
    # Where this machine has mold itself, the three are apart.
    assert (programs[0].st_ino == programs[1].st_ino) is (shutil.which("mold") is None)
    mold = warm_box.root / "bin" / "mold"
    mold.parent.mkdir()
    mold.write_text("#!/bin/sh\nexit 1\n")
    mold.chmod(0o755)
    path = f"{mold.parent}:{warm_box.env()['PATH']}"
    found = _script_program(warm_box.checkout("c", user_of("one", "scripted")), env={"PATH": path})
    assert found.st_ino != programs[0].st_ino


def _script_program(checkout: Checkout, env: dict[str, str]) -> os.stat_result:
    checkout.build(env=env)
    (found,) = checkout.target.glob("debug/build/scripted-*/build-script-build")
    return found.stat()


def test_verbs_that_build_nothing_create_nothing(warm_box: Sandbox) -> None:
    """Guards against surprises: a question about the workspace leaves no target directory."""
    warm_box.checkout("a", chain()).build()
    second = warm_box.checkout("b", chain())
    second.cargo("metadata", "--format-version=1")
    second.cargo("tree")
    assert not second.target.exists()


def test_two_cargos_starting_at_once_in_a_new_target_both_succeed(warm_box: Sandbox) -> None:
    """Guards cargo's lock: who holds the profile builds, and nothing is placed under its hands."""
    warm_box.checkout("a", chain()).build()
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


STEPS = [
    ("build",),
    ("build",),
    ("build", "--release"),
    ("check",),
    ("test", "--no-run"),
    ("build", "--features", "extra"),
    ("build", "--workspace", "--all-targets"),
]


@pytest.mark.parametrize("seed", [20, *(pytest.param(seed, marks=slow) for seed in range(21, 30))])
def test_random_edits_in_fresh_checkouts_give_what_plain_cargo_gives(warm_box: Sandbox, seed: int) -> None:
    """Guards staleness: content, date alone, revert, branch, profile, feature; each in a fresh checkout, against cargo.

    With SLOW_TESTS=1 these are a hundred edits.
    """
    dice = random.Random(seed)
    warm_box.settings["CARGO_INCREMENTAL"] = "0"  # state is made in a target that is moved aside here
    states = [featured()]
    for number in range(10):
        checkout = warm_box.checkout(f"step/{number}", dice.choice(states) if dice.random() < 0.3 else states[-1])
        for _ in range(dice.randint(0, 2)):
            edit_something(checkout, dice)
        words = dice.choice(STEPS)
        checkout.cargo(*words)
        checkout.fresh(*words)
        edit_something(checkout, dice)  # and once more in the warm tree
        checkout.cargo(*words)
        checkout.fresh(*words)
        if words[0] == "build" and "--release" not in words:
            same_behaviour(checkout, *words)
        if dice.random() < 0.6:
            states.append({name: (checkout.path / name).read_text() for name in featured()})


def featured() -> dict[str, str]:
    """`everything`, with a feature that changes what the program prints."""
    files = everything()
    files["app/Cargo.toml"] += "\n[features]\nextra = []\n"
    files["app/src/main.rs"] = (
        'fn main() { println!("{}{}", both::total(), if cfg!(feature = "extra") { "!" } else { "" }); }\n'
    )
    return files


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


def same_behaviour(checkout: Checkout, *words: str) -> None:
    """Every program prints what it prints when plain cargo builds it here."""
    ours = _said(checkout)
    assert ours
    with checkout._target_aside():
        checkout.cargo(*(words or ("build",)), env={"RUSTC_WRAPPER": ""}, count=False)
        assert _said(checkout) == ours


def _said(checkout: Checkout) -> dict[str, str]:
    programs = [
        path
        for path in (checkout.target / "debug").iterdir()
        if path.is_file() and path.stat().st_mode & 0o111 and not path.suffix
    ]
    return {path.name: checkout.program(path.name) for path in programs if isinstance(path, Path)}
