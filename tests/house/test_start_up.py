"""What the compile path loads: every module there costs each call without a daemon, and each start of one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src"
UNWANTED = (
    "argparse",
    "rich",
    "textual",
    "http",
    "urllib.request",
    "email",
    "importlib.metadata",
    "pydoc",
    "tomlkit",
    "kache.setup",
    "kache.cli",
)
OF_A_REMOTE = ("kache.remote", "kache.engine.transfer.remotes", "obstore", "cryptography", "backports", "compression")


@pytest.mark.parametrize(
    "module", ["kache.wrapper.__main__", "kache.daemon.__main__", "kache.engine", "kache.ipc.client"]
)
def test_the_compile_path_loads_no_command_line_and_no_http(module: str) -> None:
    loaded = modules_after(f"import {module}")
    assert not {name for name in loaded if name in UNWANTED or name.startswith(tuple(f"{bad}." for bad in UNWANTED))}


@pytest.mark.parametrize("module", ["kache.wrapper.__main__", "kache.daemon.__main__"])
def test_nothing_of_a_remote_is_loaded_before_one_is_named(module: str) -> None:
    loaded = modules_after(f"import {module}")
    bad = tuple(f"{name}." for name in OF_A_REMOTE)
    assert not {name for name in loaded if name in OF_A_REMOTE or name.startswith(bad)}


def test_the_in_process_engine_needs_no_event_loop() -> None:
    loaded = modules_after("import kache.wrapper.__main__")
    assert not loaded & {"asyncio", "uvloop"}


def modules_after(statement: str) -> set[str]:
    """Names in `sys.modules` of a fresh interpreter after a statement."""
    program = f"import sys; sys.path.insert(0, {str(SRC)!r}); {statement}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())
