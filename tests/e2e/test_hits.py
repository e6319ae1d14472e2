"""What was compiled once is not compiled again: other paths, other homes, other target dirs, after cargo clean."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.marks import mostly_daemon
from tests.support.projects import LEAF, alone, chain, everything, hello, lib, manifest
from tests.support.registry import LocalRegistry
from tests.support.sandbox import Sandbox


def test_a_second_checkout_at_a_longer_path_has_the_bytes_of_a_plain_build(box: Sandbox) -> None:
    """Guards the main job: a compile is paid once, whatever the path, and nothing in it differs from rustc's own."""
    first = box.checkout("a", chain())
    first.build().expect(misses="leaf mid app", hits=0)
    second = box.checkout("b/much/longer/place/for/the/second/one", chain())
    second.build().expect(hits="leaf mid app", misses=0)
    second.same_bytes_as_plain()
    first.same_bytes_as_plain()
    first.outputs().named(".rlib", ".rmeta").same_as(second.outputs().named(".rlib", ".rmeta"))
    assert second.run("-p", "app") == "42\n"


def test_a_whole_workspace_is_served_in_a_second_checkout(box: Sandbox) -> None:
    """Guards the mix of a proc macro, a build script, a mixed library and a program: none may spoil those above it."""
    cold = box.checkout("a", everything()).build()
    cold.expect(misses="macros generated generated both app", hits=0)
    second = box.checkout("second/one", everything())
    second.build().expect(hits="macros generated generated both app", misses=0)
    second.same_bytes_as_plain()
    assert second.run("-p", "app") == "13\n"


@pytest.mark.parametrize("name", ['a "quoted" \\ name', "a blank é", "=,;@+"], ids=["quotes", "blank", "signs"])
@mostly_daemon
def test_odd_directory_names_hit_and_print_right_paths(box: Sandbox, name: str) -> None:
    """Guards quoting: blanks, quotes, backslashes and non-ASCII letters get into flags, JSON and dep-info."""
    files = hello()
    files["src/lib.rs"] += "fn unused() {}\n"
    box.checkout("a", files).build().expect(misses=2)
    odd = box.checkout(f"x/{name}", files)
    warm = odd.build()
    warm.expect(hits=2, misses=0)
    assert warm.messages == odd.plain("build").messages
    odd.fresh()
    odd.same_bytes_as_plain()


def test_another_users_home_and_cargo_home_hit(box: Sandbox) -> None:
    """Guards sharing between users: neither HOME nor CARGO_HOME is in a key."""
    registry = LocalRegistry(box.root / "registry")
    registry.publish("dependency", {"Cargo.toml": manifest("dependency").replace("0.1.0", "1.0.0"), "src/lib.rs": LEAF})
    files = alone(
        {
            "Cargo.toml": manifest("user") + '[dependencies.dependency]\nversion = "1"\n',
            "src/main.rs": 'fn main() { println!("{}", dependency::number()); }\n',
        }
    )
    registry.serve(box.cargo_home)
    box.checkout("a", files).build().expect(misses="dependency user")
    other = box.root / "home-of-somebody-else"
    registry.serve(other / ".cargo")
    second = box.checkout("home-of-somebody-else/src/b", files)
    moved = {"HOME": str(other), "CARGO_HOME": str(other / ".cargo")}
    second.build(env=moved).expect(hits="dependency user", misses=0)
    second.same_bytes_as_plain(env=moved)


@mostly_daemon
def test_another_target_dir_hits(box: Sandbox) -> None:
    """Guards target dirs outside of the checkout and with other names: their place is in no key."""
    first = box.checkout("a", everything())
    first.build()
    elsewhere = box.root / "builds" / "of-a"
    first.build("--target-dir", str(elsewhere)).expect(hits=5, misses=0)
    first.build(env={"CARGO_TARGET_DIR": "out/nested"}).expect(hits=5, misses=0)
    done = subprocess.run([elsewhere / "debug" / "app"], capture_output=True, text=True, check=True)
    assert done.stdout == "13\n"


def test_after_cargo_clean_everything_hits(box: Sandbox) -> None:
    """Guards that the store owns what it keeps: removing every file of the target dir takes nothing from it."""
    checkout = box.checkout("a", everything())
    checkout.build()
    before = checkout.outputs()
    for _ in range(2):
        checkout.cargo("clean")
        assert not checkout.target.exists()
        checkout.build().expect(hits=5, misses=0)
        checkout.outputs().same_as(before)


def test_no_rustc_runs_on_a_hit_and_one_on_a_miss(box: Sandbox) -> None:
    """Guards the price of a call: no pre-pass for dep-info on a miss, no compiler at all on a hit."""
    log = box.root / "rustc.log"
    counting = box.root / "bin" / "rustc"
    counting.parent.mkdir()
    counting.write_text(f'#!/bin/sh\necho "$*" >>"{log}"\nexec "{box.sysroot}/bin/rustc" "$@"\n')
    counting.chmod(0o755)
    box.settings["RUSTC"] = str(counting)

    def compiles() -> list[str]:
        lines = log.read_text().splitlines()
        log.unlink()
        return [line for line in lines if "--crate-name" in line and "--crate-name ___" not in line]

    box.checkout("a", chain()).build().expect(misses=3)
    assert len(compiles()) == 3
    box.checkout("second", chain()).build().expect(hits=3, misses=0)
    assert compiles() == []


def test_a_member_built_from_its_own_directory_hits(box: Sandbox) -> None:
    """Guards against the caller's working directory getting into a key."""
    box.checkout("a", chain()).build()
    second = box.checkout("second", chain())
    second.build("-p", "mid", cwd="mid").expect(hits="leaf mid", misses=0)
    second.build(cwd="app").expect(hits="app", misses=0)


def test_a_checkout_reached_through_a_symlink_hits(box: Sandbox) -> None:
    """Guards worktrees and homes behind symlinks: the name a directory is reached by is in no key."""
    box.checkout("a", chain()).build()
    real = box.checkout("real/place", chain())
    (box.root / "link").symlink_to(real.path)
    linked = box.checkout("link", {})
    linked.build().expect(hits=3, misses=0)
    linked.fresh()


def test_what_only_looks_different_hits(box: Sandbox) -> None:
    """Guards against noise in keys: jobserver, job count, colour, message format, unrelated variables, their order."""
    checkout = box.checkout("a", chain())
    checkout.build()
    noise = {
        "CARGO_TERM_COLOR": "always",
        "CARGO_MAKEFLAGS": "-j 7",
        "SOME_VARIABLE": "x",
        "TERM": "dumb",
        "LINES": "7",
    }
    checkout.clean().build("-j1", "--message-format=json-diagnostic-rendered-ansi", "-q", env=noise).expect(hits=3)
    backwards = dict(reversed(list(box.env().items())))
    checkout.clean()
    subprocess.run(["cargo", "build", "-j2"], cwd=checkout.path, env=backwards, capture_output=True, check=True)
    box.calls().expect(hits=3, misses=0)


def test_a_terminal_of_any_width_hits(box: Sandbox) -> None:
    """Guards against the terminal getting into the key of a crate that prints nothing (cargo passes its width on)."""
    pexpect = pytest.importorskip("pexpect")
    checkout = box.checkout("a", chain())
    checkout.build()
    for columns in (60, 200):
        checkout.clean()
        # The shell stays until all is counted: a terminal that loses its leader hangs up on what still runs in it.
        argv = ["-c", "cargo build; echo ended with $?; read -r line"]
        child = pexpect.spawn(
            "sh", argv, cwd=str(checkout.path), env=box.env({"TERM": "xterm"}), dimensions=(24, columns)
        )
        child.expect("ended with 0", timeout=60)
        box.calls().expect(hits=3, misses=0)
        child.sendline("")
        child.expect(pexpect.EOF, timeout=60)
        child.close()


def test_a_touched_file_is_a_hit(box: Sandbox) -> None:
    """Guards dates: cargo asks again for a file that is newer, and its content is what counts."""
    checkout = box.checkout("a", chain())
    checkout.build()
    checkout.touch("leaf/src/lib.rs")
    checkout.build().expect(hits="leaf mid app", misses=0)
    checkout.fresh()


def test_an_edit_taken_back_is_a_hit(box: Sandbox) -> None:
    """Guards switching between branches: both states stay in the store."""
    checkout = box.checkout("a", chain())
    checkout.build()
    checkout.edit("leaf/src/lib.rs", "21", "22")
    checkout.build().expect(misses="leaf mid app")
    assert checkout.run("-p", "app") == "44\n"
    for old, new, printed in (("22", "21", "42\n"), ("21", "22", "44\n")):
        checkout.edit("leaf/src/lib.rs", old, new)
        checkout.build().expect(hits="leaf mid app", misses=0)
        assert checkout.run("-p", "app") == printed


@pytest.mark.parametrize("value", ["1", "0"])
@mostly_daemon
def test_incremental_compilation_is_off(box: Sandbox, value: str) -> None:
    """Guards against incremental state: it is large, ties outputs to one directory, and kache takes it away."""
    asked = {"CARGO_INCREMENTAL": value}
    checkout = box.checkout("a", lib())
    checkout.build(env=asked).expect(misses=1)
    incremental = checkout.target / "debug" / "incremental"
    assert not incremental.exists() or not list(incremental.iterdir())
    box.checkout("second", lib()).build(env=asked).expect(hits=1, misses=0)


def test_hits_do_not_depend_on_the_umask(box: Sandbox) -> None:
    """Guards shared machines: a build under another umask gets its own modes, and the first build keeps its own."""
    first = box.checkout("a", hello())
    first.build()
    rlib = next(first.target.glob("debug/deps/*.rlib"))
    before = rlib.stat().st_mode
    second = box.checkout("second", hello())
    script = "import os, sys; os.umask(0o077); os.execvp('cargo', ['cargo', 'build'])"
    subprocess.run([sys.executable, "-c", script], cwd=second.path, env=box.env(), capture_output=True, check=True)
    box.calls().expect(hits=2, misses=0)
    modes = {path.suffix: path.stat().st_mode & 0o777 for path in (second.target / "debug" / "deps").iterdir()}
    assert modes == {".rlib": 0o600, ".rmeta": 0o600, ".d": 0o600, "": 0o700}
    assert rlib.stat().st_mode == before
