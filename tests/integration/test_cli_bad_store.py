"""Reports on an index that is damaged, unreadable or vanishing under them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from kache.store.local import LocalStore
from tests.support.cli import CliBox


@pytest.fixture
def box(tmp_path: Path) -> CliBox:
    return CliBox(tmp_path)


def damaged(box: CliBox) -> CliBox:
    (box.cache_dir / "store").mkdir(parents=True)
    (box.cache_dir / "store" / "index.db").write_bytes(b"no database at all\n" * 500)
    return box


@pytest.mark.parametrize("verb", ["stats", "list", "why-miss"])
def test_damaged_index_is_one_known_error(box: CliBox, verb: str) -> None:
    assert damaged(box).error(verb)["code"] == "store-corrupt"
    done = box.run(verb)
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error[store-corrupt]", "why", "fix"]
    assert done.stdout == ""


def test_doctor_finds_the_damage_and_exits_1(box: CliBox) -> None:
    done = damaged(box).run("doctor")
    assert done.returncode == 1
    assert "fail  store: " in done.stdout


@pytest.mark.parametrize("page", [2, 3, 5])
def test_a_damaged_page_is_set_aside_by_the_command_that_errors_name(box: CliBox, page: int) -> None:
    """Guards damage that shows only by reading on: the head of the file is sound."""
    index = box.index()
    for number in range(250):
        index.entry(f"crate{number}", number=number)
    index.connection.close()
    path = box.cache_dir / "store" / "index.db"
    content = bytearray(path.read_bytes())
    content[page * 4096 :] = bytes(range(256)) * ((len(content) - page * 4096) // 256)
    path.write_bytes(content)
    assert box.error("list")["code"] == "store-corrupt"
    assert "fail  audit" not in box.run("doctor", "--verify", "--repair").stdout
    assert box.run("list").returncode == 0 and path.with_name("index.db.corrupt-1").exists()


@pytest.mark.parametrize(
    "verb", ["stats", "list", "why-miss", "report", "gc", "doctor --json", "monitor --snapshot", "clean -n"]
)
def test_a_cache_dir_need_not_be_utf_8(box: CliBox, verb: str) -> None:
    cache_dir = box.cache_dir.with_name("caf\udce9 x")
    LocalStore.open(cache_dir).close()
    done = box.run(*verb.split(), env={"KACHE_CACHE_DIR": str(cache_dir)})
    assert done.returncode == (1 if verb == "doctor" else 0) and "error[" not in done.stderr, done.stderr


@pytest.mark.parametrize("command", [["stats"], ["help"], ["completions", "bash"]])
def test_a_full_disk_behind_stdout_is_one_message(box: CliBox, command: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kache", *command],
            cwd=box.cwd,
            env=box.env(),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error[output-unwritable]", "why", "fix"]


@pytest.mark.parametrize("words", [["gc"], ["purge", "--yes"], ["list"], ["why-miss"]])
def test_no_store_is_an_empty_one(box: CliBox, words: list[str]) -> None:
    assert box.run(*words).returncode == 0
    assert not box.cache_dir.exists()


def test_purge_never_deletes_unasked(box: CliBox) -> None:
    assert box.error("purge")["fix"] == "add --yes"


def test_closed_pipe_is_quiet(box: CliBox) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "kache", "help"],
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


def test_log_of_no_daemon_is_empty(box: CliBox) -> None:
    assert box.data("daemon", "log")["lines"] == []
    box.cache_dir.mkdir()
    (box.cache_dir / "daemon.log").write_text("one\ntwo\nthree\n")
    assert box.data("daemon", "log", "--lines", "2")["lines"] == ["two", "three"]
