"""What counts as an edit, and how an incremental compile may end."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from kache.config.load import load
from kache.core.outcome import Reason
from kache.engine.edits import SCRATCH, Edit
from kache.ipc.protocol import Done


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
    reason = Edit(bytes(state), b"", is_further=True).end(done(status, stderr))
    assert state.exists() == keeps
    assert reason is (Reason.INCREMENTAL_EDIT if keeps else Reason.INCREMENTAL_CRASH)


@pytest.mark.parametrize(("status", "begins"), [(0, True), (1 << 8, False), (signal.SIGKILL, False)])
def test_state_begins_with_a_first_edit_that_compiled(state: Path, status: int, *, begins: bool) -> None:
    state.rmdir()
    Edit(bytes(state), b"", is_further=False).end(done(status))
    assert state.exists() == begins


@pytest.mark.parametrize(("platform", "mode"), [("linux", "adaptive"), ("darwin", "off")])
def test_the_default_depends_on_the_platform(monkeypatch: pytest.MonkeyPatch, platform: str, mode: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    config = load({"HOME": "/nowhere"}, None)
    assert (config.incremental, config.origins["incremental"]) == (mode, "default")
    assert load({"HOME": "/nowhere", "KACHE_INCREMENTAL": "off"}, None).incremental == "off"
    assert load({"HOME": "/nowhere", "KACHE_INCREMENTAL": "on"}, None).problems


@pytest.mark.parametrize("left", ["a link to where state is made", "a directory"])
def test_what_was_left_behind_never_becomes_another_link(state: Path, tmp_path: Path, left: str) -> None:
    """Guards against a compile whose daemon was killed: it writes where its name leads."""
    out, out_dir = tmp_path / "kache.out" / "a-0123", tmp_path / "deps"
    out_dir.mkdir()
    edit = Edit(bytes(state), bytes(out), is_further=True)
    linked = edit.with_linked_out(bytes(out_dir))
    assert linked.out == bytes(out)
    assert out.is_symlink()
    assert out.samefile(out_dir)
    out.unlink()
    if left == "a directory":
        out.mkdir()
    else:
        out.symlink_to(tmp_path / SCRATCH / "7-0" / "out")
    other = edit.with_linked_out(bytes(out_dir))
    assert other.out == bytes(out) + b"-1"
    assert not out.exists() or not out.samefile(out_dir)
    assert edit.with_linked_out(bytes(out_dir)).out == other.out


def test_a_link_to_another_checkout_is_made_anew(state: Path, tmp_path: Path) -> None:
    out, out_dir = tmp_path / "kache.out" / "a-0123", tmp_path / "deps"
    out_dir.mkdir()
    out.parent.mkdir()
    edit = Edit(bytes(state), bytes(out), is_further=True)
    for elsewhere in (tmp_path, tmp_path / "nowhere"):
        out.unlink(missing_ok=True)
        out.symlink_to(elsewhere)
        assert edit.with_linked_out(bytes(out_dir)).out == bytes(out)
        assert out.samefile(out_dir)
