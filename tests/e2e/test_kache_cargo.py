"""`kache cargo`: cached with nothing set up, and in every other way cargo itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pexpect
import pytest

from tests.support import processes
from tests.support.projects import hello
from tests.support.sandbox import KACHE, Sandbox, has_component

LIMIT_S = 120
_SLEEPS = "fn main() { std::thread::sleep(std::time::Duration::from_secs(2)); std::process::exit(5) }\n"


@pytest.fixture
def unset(box: Sandbox) -> Sandbox:
    """A user who set nothing up."""
    box.settings["RUSTC_WRAPPER"] = ""
    return box


def run(box: Sandbox, where: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    argv = [str(KACHE), "cargo", *words]
    return subprocess.run(
        argv, cwd=where, env=box.env(env), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def start(box: Sandbox, where: Path, *argv: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(argv, cwd=where, env=box.env(), stderr=subprocess.DEVNULL, start_new_session=True)


def test_a_second_checkout_is_served_with_nothing_set_up(unset: Sandbox) -> None:
    first = unset.checkout("a", hello())
    done = run(unset, first.path, "build", KACHE_SUMMARY="always")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^kache: 0 of 2 compiles from the cache \(0 %\)", done.stderr, re.MULTILINE)
    done = run(unset, unset.checkout("b", hello()).path, "build", KACHE_SUMMARY="always")
    assert re.search(
        r"^kache: 2 of 2 compiles from the cache \(100 %\).* of compiling saved$", done.stderr, re.MULTILINE
    )
    calls = unset.calls()
    assert (len(calls.hits), len(calls.misses)) == (2, 2)


def test_what_comes_behind_cargos_command_is_cargos(unset: Sandbox) -> None:
    where = unset.checkout("a", hello()).path
    done = run(unset, where, "metadata", "--no-deps", "--format-version", "1")
    assert json.loads(done.stdout)["packages"][0]["name"] == "hello"
    plain = subprocess.run(["cargo", "build", "--help"], env=unset.env(), capture_output=True, text=True, check=True)
    assert run(unset, where, "build", "--help").stdout == plain.stdout
    assert run(unset, where, "--", "--offline", "-q", "build").returncode == 0
    assert run(unset, where, "run", "--", "--json").returncode == 0
    assert run(unset, where, "-q", "check").stderr == ""
    assert run(unset, where, "--version").stdout.startswith("cargo ")


def test_a_document_says_what_the_cache_did(unset: Sandbox) -> None:
    done = run(unset, unset.checkout("a", hello()).path, "--json", "build")
    told = json.loads(done.stdout)
    assert told["command"] == "cargo" and told["success"]
    assert told["data"]["exit_status"] == 0
    assert told["data"]["stats"]["outcomes"]["miss"] == 2
    assert told["data"]["stats"]["builds"] == 1


def test_it_ends_as_cargo_ends_and_says_nothing_into_a_pipe(unset: Sandbox) -> None:
    where = unset.checkout("a", {**hello(), "src/main.rs": "fn main() { oops }\n"}).path
    plain = subprocess.run(["cargo", "build"], cwd=where, env=unset.env(), capture_output=True, check=False)
    done = run(unset, where, "build")
    assert done.returncode == plain.returncode == 101
    assert "kache:" not in done.stderr


def test_only_its_own_build_is_counted(unset: Sandbox) -> None:
    run(unset, unset.checkout("a", hello()).path, "build")
    done = run(unset, unset.checkout("b", hello()).path, "--json", "build")
    outcomes = json.loads(done.stdout)["data"]["stats"]["outcomes"]
    assert (outcomes["local_hit"], outcomes["miss"]) == (2, 0)


def test_another_wrapper_is_named_and_not_used(unset: Sandbox) -> None:
    done = run(unset, unset.checkout("a", hello()).path, "build", RUSTC_WRAPPER="/nowhere/sccache")
    assert done.returncode == 0, done.stderr
    assert "note: RUSTC_WRAPPER=/nowhere/sccache does not count for this command" in done.stderr


def test_without_cargo_it_says_so(unset: Sandbox) -> None:
    done = run(unset, unset.root, "build", PATH="/nowhere")
    assert done.returncode == 1
    assert "error[program-missing]: cargo was not found" in done.stderr
    done = run(unset, unset.root)
    assert done.returncode == 2 and "kache cargo is given nothing to run" in done.stderr


def test_on_a_terminal_it_says_a_line_unless_told_not_to(unset: Sandbox) -> None:
    where = unset.checkout("a", hello()).path
    said = pexpect.run(f"{KACHE} cargo build", cwd=str(where), env=unset.env(), timeout=LIMIT_S).decode()
    assert said.rstrip().splitlines()[-1].startswith("kache: 0 of 2 compiles from the cache")
    second = unset.checkout("b", hello()).path
    env = unset.env({"KACHE_SUMMARY": "off"})
    assert "kache:" not in pexpect.run(f"{KACHE} cargo build", cwd=str(second), env=env, timeout=LIMIT_S).decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1])
def test_a_signal_to_it_ends_cargo(unset: Sandbox, number: signal.Signals) -> None:
    where = unset.checkout("a", {**hello(), "src/main.rs": "fn main() { loop {} }\n"}).path
    with start(unset, where, str(KACHE), "cargo", "run") as child:
        processes.until(lambda: _runs(where / "target/debug/hello"), limit_s=60, what="the program runs")
        child.send_signal(number)
        # cargo run is the program by then: it ends by the signal, as it would have without us.
        assert child.wait(60) == 128 + number
    assert not _runs(where / "target/debug/hello")


def test_what_is_ignored_stays_ignored(unset: Sandbox) -> None:
    """Guards nohup, and jobs that a script puts into the background."""
    where = unset.checkout("a", {**hello(), "src/main.rs": _SLEEPS}).path
    script = "trap '' HUP INT; exec \"$0\" cargo run"
    with start(unset, where, "sh", "-c", script, str(KACHE)) as child:
        processes.until(lambda: _runs(where / "target/debug/hello"), limit_s=60, what="the program runs")
        for number in (signal.SIGHUP, signal.SIGINT):
            os.killpg(child.pid, number)
        assert child.wait(60) == 5


def test_clippy_has_another_cargo_build_for_it(unset: Sandbox) -> None:
    if not has_component("clippy-driver"):
        pytest.skip("needs clippy")
    done = run(unset, unset.checkout("a", hello()).path, "--json", "clippy")
    assert json.loads(done.stdout)["data"]["stats"]["outcomes"]["miss"] == 2


def test_ctrl_c_is_the_programs_business(unset: Sandbox) -> None:
    where = unset.checkout("a", {**hello(), "src/main.rs": 'fn main() { println!("up"); loop {} }\n'}).path
    terminal = pexpect.spawn(f"{KACHE} cargo run", cwd=str(where), env=unset.env(), timeout=LIMIT_S)
    terminal.expect("up")
    time.sleep(0.1)
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert not _runs(where / "target/debug/hello")


def _runs(program: Path) -> bool:
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.readlink(process / "exe") == str(program):
                    return True
            except OSError:
                continue
    return False
