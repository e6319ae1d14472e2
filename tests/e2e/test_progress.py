"""KACHE_PROGRESS=1: a line a hit among cargo's own, in that build alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pexpect

from tests.support.projects import hello
from tests.support.sandbox import Sandbox


def test_each_hit_is_said_once_and_never_again(box: Sandbox) -> None:
    box.checkout("a", hello()).build()
    second = box.checkout("second", hello())
    built = second.build(env={"KACHE_PROGRESS": "1"})
    lines = [line for line in built.stderr.splitlines() if line.startswith("      Cached hello v0.1.0 (")]
    assert len(lines) == 2
    assert "Cached" not in second.build(env={"KACHE_PROGRESS": "1"}).stderr
    assert "Cached" not in box.checkout("third", hello()).build().stderr


def test_on_a_terminal_it_is_coloured_and_in_a_file_appended(box: Sandbox, tmp_path: Path) -> None:
    box.checkout("a", hello()).build()
    second = box.checkout("second", hello())
    env = box.env({"KACHE_PROGRESS": "1", "TERM": "xterm", "CARGO_TERM_COLOR": "always"})
    said = pexpect.run("cargo build --offline", cwd=str(second.path), env=env, timeout=120).decode()
    assert said.count("\x1b[1;32m      Cached\x1b[0m hello v0.1.0") == 2
    for mode, count in (("ab", 2), ("wb", 0)):
        third = box.checkout(f"third-{mode}", hello())
        log = tmp_path / mode
        with log.open(mode) as file:
            argv = ["cargo", "build", "--offline"]
            env = box.env({"KACHE_PROGRESS": "1"})
            subprocess.run(argv, cwd=third.path, env=env, stderr=file, timeout=120, check=True)
        text = log.read_text()
        assert text.count("Cached hello") == count and "Finished" in text
