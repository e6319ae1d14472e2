"""`kache init` with a real cargo: the probe, hits by configuration alone, and a daemon that takes up a new setting."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.support.projects import hello
from tests.support.sandbox import KACHE, Sandbox


def unset(box: Sandbox) -> dict[str, str]:
    """The box's environment as a user has it before any setup."""
    return {
        name: value for name, value in box.env({"SHELL": "/bin/bash"}).items() if name not in ("RUSTC_WRAPPER", "CI")
    }


def run(box: Sandbox, *argv: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv, cwd=cwd or box.root, env=unset(box), capture_output=True, text=True, timeout=240, check=False
    )


def test_after_init_plain_cargo_hits_and_after_undo_it_does_not(box: Sandbox) -> None:
    done = run(box, KACHE, "init", "--yes")
    assert done.returncode == 0, done.stderr + done.stdout
    assert "probe: a tiny crate compiled in one checkout was a hit in another" in done.stdout
    for name in ("a", "second"):
        checkout = box.checkout(name, hello())
        assert run(box, "cargo", "build", "--offline", cwd=checkout.path).returncode == 0
    calls = box.calls()
    assert calls.hits and calls.misses
    assert "cargo calls kache, by" in run(box, KACHE, "doctor").stdout
    assert run(box, KACHE, "init", "--undo", "--yes").returncode == 0
    assert list(box.cargo_home.glob("config*")) == []
    third = box.checkout("third", hello())
    assert run(box, "cargo", "build", "--offline", cwd=third.path).returncode == 0
    after = box.calls()
    assert not after.hits and not after.misses


def test_a_probe_without_effect_fails_and_says_why(box: Sandbox) -> None:
    env = {**unset(box), "RUSTC_WRAPPER": ""}
    done = subprocess.run([KACHE, "init", "--yes"], cwd=box.root, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cargo did not call kache" in done.stdout and "RUSTC_WRAPPER is set and empty" in done.stdout


def test_a_running_daemon_takes_up_a_setting(daemon_box: Sandbox) -> None:
    box = daemon_box
    checkout = box.checkout("a", hello())
    checkout.build().expect(hits=0)
    assert box.kache("config", "set", "key_salt", "other").returncode == 0
    time.sleep(1.1)  # a configuration is read at most once a second
    checkout.clean()
    checkout.build().expect(hits=0)
    assert box.kache("config", "unset", "key_salt").returncode == 0
    time.sleep(1.1)
    checkout.clean()
    checkout.build().expect(misses=0)
