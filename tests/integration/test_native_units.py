"""The launcher's own unit tests, so that one command runs everything."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("crate", ["native/launcher", "bench/nothing_wrapper"])
def test_cargo_test_passes(crate: str, tmp_path: Path) -> None:
    argv = ["cargo", "test", "--quiet", "--locked", "--offline", "--target-dir", str(tmp_path)]
    run = subprocess.run(argv, cwd=ROOT / crate, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
