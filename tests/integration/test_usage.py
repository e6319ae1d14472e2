"""Flags that contradict each other, words that are nearly right: one clear error, and what to do instead."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.cli import CliBox


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> CliBox:
    return CliBox(tmp_path_factory.mktemp("usage"))


@pytest.mark.parametrize(
    "words",
    [
        "stats --since 1h --last-build",
        "report --since 1h --last-build",
        "report --json --format html",
        "clean -n -y",
        "doctor --repair",
        "init --check --yes",
        "init --check --undo",
        "init --replace-wrapper",
        "init --undo --git-hooks",
        "daemon stop --follow",
        "daemon status --lines 5",
        "daemon start --service",
        "daemon log --follow --json",
        "remote status --packs",
        "remote verify --max-age 3d",
        "remote verify --dry-run",
        "keys list --secret",
        "keys generate --label x",
        "keys list abc",
        "sync --pull --push",
        "config set max_size 5GiB --project --file x.toml",
        "monitor --tab store",
        "monitor --json",
    ],
)
def test_a_contradiction_is_refused_and_says_what_to_do(box: CliBox, words: str) -> None:
    done = box.run(*words.split())
    assert done.returncode == 2, done.stdout + done.stderr
    if "--json" in words:
        error = json.loads(done.stdout)["error"]
        assert error["code"] == "usage" and error["fix"] and done.stderr == ""
        return
    first, *more = done.stderr.splitlines()
    assert first.startswith("error[usage]: ") and done.stdout == ""
    assert any(line.startswith("fix: ") for line in more) or "goes with" in first


@pytest.mark.parametrize(
    ("words", "near"),
    [
        ("statz", "kache stats"),
        ("list --srot size", "--sort"),
        ("list --sort siez", "size"),
        ("gc --dryrun", "--dry-run"),
        ("purge --crate_name x", "--crate-name"),
        ("daemon strat", "start"),
        ("completions bsh", "bash"),
        ("config sett max_size 1", "set"),
        ("config get cache.max_sise", "max_size"),
        ("report --format htlm", "html"),
        ("monitor --snapshot - --tab stroe", "store"),
    ],
)
def test_what_is_nearly_right_is_suggested(box: CliBox, words: str, near: str) -> None:
    error = box.error(*words.split())
    assert error["fix"] == f"did you mean {near}?"


@pytest.mark.parametrize(
    "words", ["save-manifest --builds 0", "save-manifest --builds -3", "monitor --snapshot --size 99999x99999"]
)
def test_numbers_out_of_range_are_refused(box: CliBox, words: str) -> None:
    assert box.error(*words.split())["code"] == "usage"


@pytest.mark.parametrize("verb", ["stats", "report", "monitor --snapshot"])
def test_a_time_before_all_clocks_is_refused(box: CliBox, verb: str) -> None:
    assert "a hundred years" in box.error(*verb.split(), "--since", "99999999d")["message"]


def test_every_error_as_json_says_what_to_run_next(box: CliBox) -> None:
    assert box.error("gc", "--nothing-like-it")["next"] == ["kache gc --help"]
    assert box.error("statz")["next"] == ["kache stats --help"]
    assert box.error("sync", "--pull")["next"] == ["kache config list"]
    assert box.error("config", "set", "max_size", "lots")["next"] == ["kache config list"]


def test_every_class_of_error_has_something_to_run_next() -> None:
    from kache import errors

    def below(kind: type[errors.KacheError]) -> list[type[errors.KacheError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    silent = {
        kind.code for kind in below(errors.KacheError) if kind.__module__ == "kache.errors" and not kind.next_commands
    }
    assert silent == {"error", "output-unwritable", "interrupted"}  # the base, and two that only their user can mend


@pytest.mark.parametrize("count", ["-5", "0", "many"])
def test_a_count_that_is_none_is_said(box: CliBox, count: str, tmp_path: Path) -> None:
    assert "a whole number from 1 on" in box.error("daemon", "log", f"--lines={count}")["message"]


def test_a_setting_given_in_front_of_a_command_ranks_above_all(box: CliBox) -> None:
    (box.cwd / ".kache.toml").write_text('[cache]\nmax_size = "1GiB"\n')
    env = {"KACHE_MAX_SIZE": "2GiB"}
    done = box.run("--config", "max_size=3GiB", "config", "list", "--json", env=env)
    (found,) = [each for each in json.loads(done.stdout)["data"]["settings"] if each["name"] == "max_size"]
    assert (found["value"], found["origin"]) == (3 << 30, "--config")
    assert "budget 3.0 GiB" in box.run("--config=max_size=3GiB", "gc", env=env).stdout


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("max_sise=1GiB", "did you mean max_size?"),
        ("max_size=much", "'much' is not a value for max_size"),
        ("max_size", "takes NAME=VALUE"),
    ],
)
def test_a_setting_given_wrongly_is_said(box: CliBox, given: str, told: str) -> None:
    done = box.run("--config", given, "stats")
    assert done.returncode == 2 and told in done.stderr and done.stdout == ""


def test_what_to_run_next_is_the_help_of_that_command(box: CliBox) -> None:
    assert box.error("report", "--format", "html")["next"] == ["kache report --help"]
