"""What can be wrong around a command: one clear message, an exit code that says so, and nothing lost."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.cli.verbs import VERBS
from tests.support.cli import CliBox
from tests.support.terminal import end_of, type_kache

READERS = [("stats",), ("list",), ("why-miss",), ("report",), ("clean", "-n")]
WRITERS = [("gc",), ("purge", "--yes"), ("doctor", "--verify")]


@pytest.fixture
def box(tmp_path: Path) -> CliBox:
    return CliBox(tmp_path)


@pytest.fixture
def silent_daemon(box: CliBox) -> Iterator[CliBox]:
    box.cache_dir.mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(box.cache_dir / "daemon.sock"))
        listener.listen()
        yield box


def one_message(done: subprocess.CompletedProcess[str], code: str) -> None:
    lines = done.stderr.splitlines()
    assert [line for line in lines if line.startswith("error[")] == [lines[0]]
    assert lines[0].startswith(f"error[{code}]: ") and "Traceback" not in done.stderr
    assert any(line.startswith("fix: ") for line in lines)


@pytest.mark.parametrize("words", [*READERS, *WRITERS], ids=" ".join)
def test_a_store_from_a_newer_version(box: CliBox, words: tuple[str, ...]) -> None:
    index = box.index()
    index.entry("serde", number=1)
    index.connection.execute("PRAGMA user_version = 99")
    done = box.run(*words)
    assert done.returncode == 1
    if words[0] != "doctor":
        one_message(done, "store-newer")
    else:
        assert "schema 99" in done.stdout + done.stderr
    assert index.connection.execute("SELECT count(*) FROM entries").fetchone() == (1,)


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_a_daemon_that_does_not_answer(silent_daemon: CliBox, words: tuple[str, ...]) -> None:
    done = silent_daemon.run(*words)
    assert done.returncode == 0 and "the daemon did not answer within" in done.stderr


def test_a_daemon_that_does_not_answer_is_found(silent_daemon: CliBox) -> None:
    done = silent_daemon.run("doctor", "--json")
    (found,) = [check for check in json.loads(done.stdout)["data"]["checks"] if check["check"] == "daemon"]
    assert found["status"] == "warn" and f"(pid {os.getpid()}) does not answer" in found["what"]


@pytest.mark.parametrize("action", ["status", "stop", "start"])
def test_a_daemon_that_is_there_and_silent_is_not_called_absent(silent_daemon: CliBox, action: str) -> None:
    done = silent_daemon.run("daemon", action)
    assert done.returncode == 1 and done.stdout == ""
    one_message(done, "daemon-silent")
    assert f"kill -9 {os.getpid()}" in done.stderr


@pytest.mark.parametrize("words", READERS, ids=" ".join)
def test_broken_settings_are_a_warning_with_a_suggestion(box: CliBox, words: tuple[str, ...]) -> None:
    (box.cwd / ".kache.toml").write_text('[cache]\nmax_sise = "1GiB"\nremap = "perhaps"\n')
    done = box.run(*words)
    assert done.returncode == 0
    assert ".kache.toml:2: unknown key 'max_sise'; expected max_size" in done.stderr
    assert ".kache.toml:3: 'perhaps' is not a value for remap" in done.stderr
    (box.cwd / ".kache.toml").write_text("[cache\n")
    done = box.run(*words)
    assert done.returncode == 0 and ".kache.toml:1: not TOML" in done.stderr


# What `kache cargo` does not know is cargo's.
@pytest.mark.parametrize("verb", [verb.name for verb in VERBS if verb.name != "cargo"])
def test_an_unknown_flag_is_wrong_usage_everywhere(box: CliBox, verb: str) -> None:
    done = box.run(verb, "--no-such-flag")
    assert done.returncode == 2
    one_message(done, "usage")
    assert done.stdout == ""


@pytest.mark.parametrize("words", [("list",), ("report", "--since", "1d"), ("config", "list"), ("completions", "zsh")])
def test_a_reader_that_goes_away(box: CliBox, words: tuple[str, ...]) -> None:
    index = box.index()
    for number in range(200):
        index.entry(f"crate_{number}", number=number % 256)
        index.event("miss", crate=f"crate_{number}")
    run = subprocess.Popen(
        [sys.executable, "-m", "kache", *words],
        cwd=box.cwd,
        env=box.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdout is not None and run.stderr is not None
    run.stdout.close()
    assert run.stderr.read() == b""
    run.stderr.close()
    assert run.wait() in (0, 141)


def test_ctrl_c_while_a_log_is_followed(box: CliBox) -> None:
    box.cache_dir.mkdir()
    (box.cache_dir / "daemon.log").write_text("one\n")
    child = type_kache("daemon", "log", "--follow", env=box.env(), cwd=box.cwd)
    child.expect("one")
    child.sendintr()
    status, said = end_of(child)
    assert status == 130 and "Traceback" not in said


def test_a_long_answer_on_a_small_terminal_gets_a_pager(box: CliBox) -> None:
    index = box.index()
    for number in range(40):
        index.entry(f"crate_{number}", number=number)
    env = box.env({"PAGER": "sed s/crate_/paged_/"})
    child = type_kache("list", env=env, cwd=box.cwd, size=(24, 80))
    assert "paged_39" in end_of(child)[1]
    child = type_kache("list", env={**env, "KACHE_PAGER": ""}, cwd=box.cwd, size=(24, 80))
    assert "crate_39" in end_of(child)[1]
    assert "crate_39" in box.run("list", env={"PAGER": "false"}).stdout


def test_colour_is_for_terminals(box: CliBox) -> None:
    env = {name: value for name, value in box.env().items() if name not in ("NO_COLOR", "CLICOLOR_FORCE")}
    red = "\x1b[1;31merror\x1b[0m"
    assert red in end_of(type_kache("stat", env=env, cwd=box.cwd))[1]
    assert red not in end_of(type_kache("stat", env={**env, "NO_COLOR": "1"}, cwd=box.cwd))[1]
    assert red not in box.run("stat", env={"CLICOLOR_FORCE": "0"}).stderr
    assert red in box.run("stat", env={"CLICOLOR_FORCE": "1", "NO_COLOR": ""}).stderr
