"""Accounting of processes: children's CPU counts, and an interrupted run leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.replay import Contestant, race
from bench.usage import process_cpu_s, run_measured, tail

BURN = "import time\nend = time.process_time() + 0.3\nwhile time.process_time() < end: pass\n"


def test_cpu_of_a_grandchild_counts(tmp_path: Path) -> None:
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BURN!r}])"
    usage = run_measured([sys.executable, "-c", script], os.environ, tmp_path)
    assert usage.exit_code == 0
    assert usage.cpu_s >= 0.3


def test_a_signal_is_told_as_the_shell_tells_it(tmp_path: Path) -> None:
    assert run_measured(["sh", "-c", "kill -TERM $$"], os.environ, tmp_path).exit_code == 128 + signal.SIGTERM


def test_cpu_of_a_living_process_and_of_none() -> None:
    before = process_cpu_s(os.getpid())
    began = time.process_time()
    while process_cpu_s(os.getpid()) - before < 0.25 and time.process_time() - began < 60:
        pass
    assert process_cpu_s(os.getpid()) - before >= 0.25
    assert process_cpu_s(None) == 0.0


def test_an_interrupt_ends_the_whole_group(tmp_path: Path) -> None:
    marker = tmp_path / "grandchild"
    program = (
        "import os, sys, pathlib\n"
        "from bench.usage import run_measured\n"
        f"run_measured(['sh', '-c', 'sleep 60 & echo $! > {marker}; wait'], os.environ, pathlib.Path('.'))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], cwd=Path(__file__).parents[2], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not (marker.exists() and marker.read_text().strip()) and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.5)  # the shell runs before Popen has returned, and nothing can be ended before that
    child.send_signal(signal.SIGINT)
    child.wait(10)
    deadline = time.monotonic() + 10
    grandchild = Path("/proc") / marker.read_text().strip() / "stat"
    while grandchild.exists() and grandchild.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not grandchild.exists() or grandchild.read_text().split()[2] == "Z"


def test_a_contestant_that_fails_has_no_time(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="ended with status 1"):
        race([Contestant("false", ["/bin/false"], os.environ)], 1, tmp_path)


def test_the_tail_has_no_progress_bars() -> None:
    assert tail("a\n\n    Building [=> ] 1/2: x\rerror: b\nc\n", 2) == "error: b\nc"
