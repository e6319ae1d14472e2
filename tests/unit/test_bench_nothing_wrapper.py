"""The do-nothing wrapper, the floor of the warm figures: it must compile nothing and still yield the right program."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.arms import NothingArm, build_nothing_wrapper
from bench.context import timed_build
from bench.environment import plain_env
from bench.phases.warm import nothing_to_do
from bench.replay import RecordedCall

MANIFEST = """[workspace]
members = ["app", "macros"]
resolver = "2"
"""
APP = """[package]
name = "app"
version = "0.1.0"
edition = "2021"
[dependencies]
macros = { path = "../macros" }
"""
MACROS = """[package]
name = "macros"
version = "0.1.0"
edition = "2021"
[lib]
proc-macro = true
"""
# As autocfg and rustix ask: does rustc take this? Both questions have the same words.
BUILD = """use std::io::Write;
use std::process::{Command, Stdio};
fn takes(source: &str, out: &std::path::Path) -> bool {
    let wrapper = std::env::var_os("RUSTC_WRAPPER").filter(|path| !path.is_empty());
    let rustc = std::env::var_os("RUSTC").unwrap();
    let mut words: Vec<_> = wrapper.into_iter().chain([rustc]).collect();
    let mut asked = Command::new(words.remove(0));
    asked.args(words).args(["--crate-name=probe", "--crate-type=rlib", "--emit=metadata", "--out-dir"]).arg(out);
    let mut asked = asked.arg("-").stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    asked.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
    asked.wait().unwrap().success()
}
fn main() {
    let out = std::path::PathBuf::from(std::env::var_os("OUT_DIR").unwrap());
    assert!(takes("pub fn f() {}", &out));
    assert!(!takes("pub fn f() -> u8 { 300 }", &out));
    std::fs::write(out.join("made.rs"), "pub const MADE: &str = \\"made\\";").unwrap();
    println!("cargo:rerun-if-changed=build.rs");
}
"""
MAIN = """mod warned { fn never_called() {} }
include!(concat!(env!("OUT_DIR"), "/made.rs"));
fn main() { println!("{} {}", MADE, macros::four!()); }
"""
MACRO = """use proc_macro::TokenStream;
#[proc_macro]
pub fn four(_: TokenStream) -> TokenStream { "4".parse().unwrap() }
"""


def workspace(root: Path) -> Path:
    """Write a workspace with a proc macro, a build script, a warning and a binary."""
    files = {
        "Cargo.toml": MANIFEST,
        "app/Cargo.toml": APP,
        "app/build.rs": BUILD,
        "app/src/main.rs": MAIN,
        "macros/Cargo.toml": MACROS,
        "macros/src/lib.rs": MACRO,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["cargo", "generate-lockfile", "--offline", "--quiet"], cwd=root, check=True)
    return root


@pytest.fixture
def arm(tmp_path: Path) -> NothingArm:
    """The wrapper, built, with no recordings."""
    env = plain_env(os.environ, tmp_path)
    made = NothingArm(env, build_nothing_wrapper(tmp_path, env), tmp_path / "nothing")
    made.reset()
    return made


def test_it_replays_a_workspace_into_another_checkout(tmp_path: Path, arm: NothingArm) -> None:
    first, second = workspace(tmp_path / "a"), workspace(tmp_path / "somewhere" / "else")
    recorded = timed_build(arm, first)
    calls_recorded = arm.counts()
    assert calls_recorded is not None
    arm.env(second)

    replayed = timed_build(arm, second)

    assert "nothing-wrapper:" not in replayed.output, "a unit nobody recorded: no floor"
    calls = arm.counts()
    assert calls is not None and calls.since(calls_recorded).calls == calls_recorded.calls
    ran = subprocess.run([second / "target" / "debug" / "app"], capture_output=True, text=True, check=True)
    assert ran.stdout == "made 4\n"
    warning = "warning: function `never_called` is never used"
    assert warning in recorded.output and warning in replayed.output
    dep_info = next((second / "target" / "debug" / "deps").glob("app-*.d")).read_text()
    assert str(second) in dep_info and f"{first}/" not in dep_info
    for where in (first, second):
        assert nothing_to_do(arm, where) | {"wall_s": 0} == {"wall_s": 0, "did": [], "wrapper_calls": 0, "ok": True}


def test_a_recorded_call_can_be_repeated(tmp_path: Path, arm: NothingArm) -> None:
    first = workspace(tmp_path / "a")
    timed_build(arm, first)
    calls = [RecordedCall.read(path) for path in arm.recordings.iterdir() if path.name.startswith("macros-")]
    assert len(calls) == 1
    assert not calls[0].is_library and "proc-macro" in calls[0].argv
    assert calls[0].env["CARGO_CRATE_NAME"] == "macros" and "CARGO_MAKEFLAGS" not in calls[0].env
    assert (
        subprocess.run(calls[0].argv, env=calls[0].env, cwd=calls[0].cwd, capture_output=True, check=False).returncode
        == 0
    )
