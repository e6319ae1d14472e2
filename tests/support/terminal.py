"""Commands typed into a pseudo-terminal, as a person does."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pexpect

LIMIT_S = 120


def type_kache(
    *words: str, env: Mapping[str, str], cwd: Path, size: tuple[int, int] = (40, 160), term: str = "xterm"
) -> Any:
    """Start `kache WORDS…` on a terminal of its own; the result is pexpect's."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "kache", *words],
        env={**env, "TERM": term},
        cwd=str(cwd),
        encoding="utf-8",
        timeout=LIMIT_S,
        dimensions=size,
        # A test run in the background of a shell ignores Ctrl-C, and would hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def end_of(child: Any) -> tuple[int, str]:
    """Its exit status and the rest of what it said."""
    child.expect(pexpect.EOF)
    child.close()
    return int(child.exitstatus if child.exitstatus is not None else 128 + child.signalstatus), str(child.before)
