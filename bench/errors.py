"""The one error the benchmark's programs print instead of a traceback."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from types import FrameType


class BenchError(Exception):
    """Something the user can put right: what happened, why, and what to do."""

    def __init__(self, what: str, why: str, fix: str) -> None:
        super().__init__(what)
        self.why = why
        self.fix = fix


def run_main(main: Callable[[], int]) -> int:
    """Run a program: a known failure ends in three lines and status 1, Ctrl-C in 130, a bug in its traceback."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return main()
    except BenchError as error:
        print(f"error: {error}\nwhy: {error.why}\nfix: {error.fix}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; everything that was started has been ended", file=sys.stderr)
        return 130


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """Make SIGTERM unwind as Ctrl-C does, so that what was started is ended."""
    raise KeyboardInterrupt
