"""What counts as an edit, how an incremental compile may end, and the state made between two edits."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.config.load import load
from kache.core.outcome import Reason
from kache.engine import make_state
from kache.engine.edits import Edit
from kache.ipc.protocol import Done

RUSTC = """import os, sys, time
words = sys.argv[1:]
out = words[words.index("--out-dir") + 1]
state = words[-1].partition("=")[2]
os.makedirs(state + "/a-1/s-1")
open(out + "/made", "w").close()
time.sleep(float(os.environ.get("TAKES_S", "0")))
sys.exit(int(os.environ.get("ENDS_WITH", "0")))
"""


def done(wait_status: int, stderr: bytes = b"") -> Done:
    return Done(1, wait_status, 0, 0, 0, 0, b"", stderr)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    made = tmp_path / "target" / "debug" / "incremental" / "kache" / "a-0123"
    made.mkdir(parents=True)
    return made


@pytest.mark.parametrize(
    ("status", "stderr", "keeps"),
    [
        (0, b"", True),
        (1 << 8, b'{"message":"mismatched types"}', True),
        (1 << 8, b'{"message":"linking with `cc` failed: exit status: 1"}', False),
        (101 << 8, b"", False),
        (signal.SIGSEGV, b"", False),
        (signal.SIGABRT, b"", False),
        (signal.SIGINT, b"", True),
        (signal.SIGTERM, b"", True),
        (signal.SIGKILL, b"", True),
    ],
)
def test_state_is_thrown_away_after_a_crash_alone(state: Path, status: int, stderr: bytes, *, keeps: bool) -> None:
    (state / "a-1").mkdir()
    reason = Edit(bytes(state), is_further=True).end(done(status, stderr))
    assert state.exists() == keeps
    assert reason is (Reason.INCREMENTAL_EDIT if keeps else Reason.INCREMENTAL_CRASH)


@pytest.mark.parametrize(("status", "begins"), [(0, True), (1 << 8, False), (signal.SIGKILL, False)])
def test_state_begins_with_a_first_edit_that_compiled(state: Path, status: int, *, begins: bool) -> None:
    state.rmdir()
    Edit(bytes(state), is_further=False).end(done(status))
    assert state.exists() == begins


@pytest.mark.parametrize(("platform", "mode"), [("linux", "adaptive"), ("darwin", "off")])
def test_the_default_depends_on_the_platform(monkeypatch: pytest.MonkeyPatch, platform: str, mode: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    config = load({"HOME": "/nowhere"}, None)
    assert (config.incremental, config.origins["incremental"]) == (mode, "default")
    assert load({"HOME": "/nowhere", "KACHE_INCREMENTAL": "off"}, None).incremental == "off"
    assert load({"HOME": "/nowhere", "KACHE_INCREMENTAL": "on"}, None).problems


class Preparation:
    """One, with a rustc of our own."""

    def __init__(self, tmp_path: Path, state: Path) -> None:
        self.cache_dir, self.state = tmp_path / "cache", state
        self.cache_dir.mkdir()
        self.script = tmp_path / "rustc.py"
        self.script.write_text(RUSTC)

    def run(self, umask: int = 0o022) -> int:
        argv = [sys.executable, str(self.script), "--out-dir", "/nowhere", "-C", f"incremental={self.state}"]
        return make_state.main([str(self.cache_dir), "0-0", f"{umask:o}", str(self.state), *argv])

    def left(self) -> list[str]:
        return sorted(path.name for path in (self.cache_dir / make_state.PLACE).iterdir())


@pytest.fixture
def preparation(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Preparation]:
    monkeypatch.setattr(make_state, "_give_way", lambda: None)  # a priority given up does not come back
    umask = os.umask(0o022)
    yield Preparation(tmp_path, state)
    os.umask(umask)


def test_state_is_prepared_and_nothing_else_is_left(preparation: Preparation) -> None:
    assert preparation.run() == 0
    assert [path.name for path in preparation.state.rglob("*")] == ["a-1", "s-1"]
    assert preparation.left() == ["lock", "waiting-0"]


def test_state_is_for_whom_the_caller_makes_files_for(preparation: Preparation) -> None:
    assert preparation.run(umask=0o007) == 0
    assert (preparation.state / "a-1").stat().st_mode & 0o777 == 0o770


def test_a_compile_that_fails_prepares_nothing(preparation: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENDS_WITH", "1")
    assert preparation.run() == 1
    assert not list(preparation.state.iterdir())
    assert preparation.left() == ["lock", "waiting-0"]


def test_the_next_edit_ends_it(preparation: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKES_S", "60")
    wanted = iter([True, True, False])
    monkeypatch.setattr(make_state, "_is_wanted", lambda _state: next(wanted, False))
    assert preparation.run() == 1
    assert not list(preparation.state.iterdir())


def test_state_that_is_there_meanwhile_stays(preparation: Preparation) -> None:
    (preparation.state / "a-2").mkdir()
    assert preparation.run() == 1
    assert [path.name for path in preparation.state.iterdir()] == ["a-2"]


def test_a_target_directory_that_is_gone_stays_gone(preparation: Preparation) -> None:
    incremental = preparation.state.parent.parent
    shutil.rmtree(incremental)
    assert preparation.run() == 1
    assert not incremental.exists()


def test_an_engine_that_is_busy_recording_is_not_waited_for(preparation: Preparation) -> None:
    preparation.state.rmdir()
    assert preparation.run() == 0
    assert [path.name for path in preparation.state.iterdir()] == ["a-1"]


def test_few_wait_at_a_time(preparation: Preparation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_state, "MAX_WAITING", 0)
    assert preparation.run() == 1
    assert not list(preparation.state.iterdir())
