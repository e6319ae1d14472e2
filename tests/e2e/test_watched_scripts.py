"""Build scripts of the checkout that `kache cargo` watches: a run is served where all it looked at is as it was."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.checkout import Checkout
from tests.support.projects import Files, alone, below, manifest
from tests.support.sandbox import KACHE, Sandbox

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="needs glibc"
)
RAN = "build-script-build`"
SCRIPT = """fn main() {{
    println!("cargo:rerun-if-changed=build.rs");
    {declares}
    let said: String = {{ {body} }};
    std::fs::write(std::env::var("OUT_DIR").unwrap() + "/said.txt", said).unwrap();
}}
"""
MAIN = 'fn main() { print!("{}", include_str!(concat!(env!("OUT_DIR"), "/said.txt"))) }\n'
READS = 'std::fs::read_to_string("data.txt").unwrap()'
TELLS = 'std::env::var("FLAVOUR").unwrap_or("plain".into())'
RUNS = 'String::from_utf8(std::process::Command::new("cat").arg("data.txt").output().unwrap().stdout).unwrap()'
UPWARD = """std::env::current_dir().unwrap().ancestors().map(|path| path.join("marker"))
    .find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or("none".into())"""


DECLARES = """println!("cargo:rerun-if-changed=data.txt");
    println!("cargo:rerun-if-env-changed=FLAVOUR");"""


def scripted(body: str, more: Files | None = None, declares: str = DECLARES) -> Files:
    """A program that prints what its script found out; the body is an expression, a String."""
    return alone(
        {
            "Cargo.toml": manifest("app"),
            "build.rs": SCRIPT.format(body=body, declares=declares),
            "src/main.rs": MAIN,
            "data.txt": "one",
            **(more or {}),
        }
    )


def front(checkout: Checkout, *words: str, **env: str) -> str:
    """Build by `kache cargo`; what cargo says it did."""
    box = checkout.box
    argv = [str(KACHE), "cargo", *(words or ("build",)), "-v"]
    done = subprocess.run(argv, cwd=checkout.path, env=box.env(env), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    box.calls()
    return done.stderr


def right(checkout: Checkout, **env: str) -> str:
    """What the program prints, which is what one of a build without kache prints."""
    said = checkout.program("app")
    assert said == checkout.plain("run", "--quiet", env=env).stdout
    return said


@pytest.mark.parametrize("body", [READS, RUNS, TELLS], ids=["reads", "runs a program", "asks a variable"])
def test_a_run_is_served_where_all_it_looked_at_is_as_it_was(warm_box: Sandbox, body: str) -> None:
    """Guards the point of it: the second checkout runs no script, with or without `kache cargo`."""
    first = warm_box.checkout("a", scripted(body))
    assert RAN in front(first)
    second = warm_box.checkout("b", scripted(body))
    assert RAN not in front(second)
    assert right(second) == right(first)
    third = warm_box.checkout("c", scripted(body))
    assert RAN not in third.build("-v").stderr
    assert right(third) == right(first)
    assert not list((warm_box.cache_dir / "script-runs").iterdir())


def _data(checkout: Checkout) -> dict[str, str]:
    checkout.write("data.txt", "two")
    return {}


def _variable(_: Checkout) -> dict[str, str]:
    return {"FLAVOUR": "mild"}


def _configured(checkout: Checkout) -> dict[str, str]:
    checkout.write(".cargo/config.toml", '[env]\nFLAVOUR = "mild"\n')
    return {}


def _marker(checkout: Checkout) -> dict[str, str]:
    (checkout.path.parent / "marker").write_text("two")
    return {}


@pytest.mark.parametrize(
    ("body", "change"),
    [(READS, _data), (RUNS, _data), (TELLS, _variable), (TELLS, _configured), (UPWARD, _marker)],
    ids=["a file", "a file its program reads", "a variable", "a configured variable", "a file above"],
)
def test_it_runs_again_where_something_it_looked_at_is_not(
    warm_box: Sandbox, body: str, change: Callable[[Checkout], dict[str, str]]
) -> None:
    """Guards what scripts find out: a program is never built on what one found elsewhere."""
    first = warm_box.checkout("one/a", scripted(body))
    front(first)
    second = warm_box.checkout("two/b", scripted(body))
    env = change(second)
    assert RAN in front(second, **env)
    assert right(second, **env) != right(first)


@pytest.mark.parametrize(
    "body",
    [
        'std::fs::write("left.txt", "x").unwrap(); "one".to_string()',
        'std::env::var("RUSTC_LINKER").unwrap_or("one".into())',
        "std::env::current_dir().unwrap().display().to_string()",
        'std::net::TcpStream::connect("127.0.0.1:9").is_ok().to_string()',
    ],
    ids=["writes beside its directory", "asks for the linker", "tells where it is", "asks a server"],
)
def test_a_run_that_cannot_be_brought_back_is_not_kept(warm_box: Sandbox, body: str) -> None:
    """Guards what no list of inputs covers: it runs in each checkout, as it does with cargo alone."""
    front(warm_box.checkout("a", scripted(body)))
    second = warm_box.checkout("b", scripted(body))
    assert RAN in front(second)
    right(second)


ASKS = 'std::env::var("CARGO_PKG_DESCRIPTION").unwrap()'
MANIFEST = """if std::fs::read_to_string("Cargo.toml").unwrap().contains("flavour") { "two" } else { "one" }.into()"""


@pytest.mark.parametrize(
    "body",
    [READS, RUNS, TELLS, MANIFEST, ASKS],
    ids=["reads", "runs a program", "asks a variable", "reads its manifest", "asks for its description"],
)
def test_what_a_script_does_not_declare_is_of_the_moment_it_is_asked_for(warm_box: Sandbox, body: str) -> None:
    """Guards two commands in a fresh target, the first of which does not want the run: cargo compares declarations."""
    files = scripted(body, declares="")
    files |= below("other", {"Cargo.toml": manifest("other"), "src/lib.rs": ""})
    files["Cargo.toml"] += 'members = ["other"]\n'
    front(warm_box.checkout("a", files), "build", "--workspace")
    second = warm_box.checkout("b", files)
    front(second, "build", "-p", "other")
    second.write("data.txt", "two")
    described = files["Cargo.toml"].replace("[package]", '[package]\ndescription = "two"')
    second.write("Cargo.toml", described + "[package.metadata.flavour]\n")
    second.build(env={"FLAVOUR": "mild"})
    assert second.program("app") in ("two", "mild")


def test_scripts_and_their_programs_see_nothing_of_being_watched(warm_box: Sandbox) -> None:
    """Guards scripts that look at their environment: no variable of ours, no file more, the user's preloads kept."""
    body = """let mut seen: Vec<String> = std::env::vars().map(|(name, _)| name)
        .filter(|name| name.contains("PRELOAD") || name.contains("OBSERVED")).collect();
    let child = std::process::Command::new("env").output().unwrap().stdout;
    let child = String::from_utf8(child).unwrap();
    seen.extend(child.lines().filter(|line| line.contains("PRELOAD") || line.contains("OBSERVED")).map(String::from));
    seen.join(",")"""
    checkout = warm_box.checkout("a", scripted(body))
    front(checkout)
    assert right(checkout) == ""


def test_cargo_that_calls_cargo_is_watched_too(warm_box: Sandbox) -> None:
    """Guards `cargo clippy` and other subcommands: the cargo that runs scripts is another one's child."""
    first = warm_box.checkout("a", scripted(READS))
    shell = warm_box.root / "cargo-again"
    shell.write_text('#!/bin/sh\nshift\nexec cargo build "$@"\n')
    shell.chmod(0o755)
    path = f"{warm_box.root}:{warm_box.env()['PATH']}"
    assert RAN in front(first, "again", PATH=path)
    second = warm_box.checkout("b", scripted(READS))
    assert RAN not in front(second, PATH=path)
    right(second)
