"""A line on the terminal for work that takes longer than a second; nothing anywhere else."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType

from kache.cli.session import Session

QUIET_S = 1.0
_REDRAW_S = 0.1
_WIDTH = 24
_CLEAR = "\r\x1b[K"


class Progress:
    """Shows how far something is, on stderr: a bar where the end is known, else how long it has taken.

    A thread draws, so that work which says nothing of itself is seen to go on too. Nothing else may write to the
    terminal meanwhile.

    Args:
        what: is counted or done: "blobs", "evicting".
        session: the command; one that prints JSON has no line.
    """

    def __init__(self, what: str, session: Session) -> None:
        self._what = what
        self._shows = sys.stderr.isatty() and not session.as_json
        self._began = time.monotonic()
        self._at = (0, 0)
        self._ends = threading.Event()
        self._drawer: threading.Thread | None = None

    def __enter__(self) -> Progress:
        if self._shows:
            self._drawer = threading.Thread(target=self._draw, name="kache-progress", daemon=True)
            self._drawer.start()
        return self

    def at(self, done: int, total: int) -> None:
        """So many of so many are done."""
        self._at = (done, total)

    def now(self, what: str) -> None:
        """Something else is done now, with another end."""
        self._what, self._at = what, (0, 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ends.set()
        if self._drawer is not None:
            self._drawer.join()

    def _draw(self) -> None:
        if self._ends.wait(QUIET_S):
            return
        while True:
            self._write(f"{_CLEAR}{self._line()}")
            if self._ends.wait(_REDRAW_S):
                self._write(_CLEAR)
                return

    def _line(self) -> str:
        done, total = self._at
        if total:
            full = min(_WIDTH * done // total, _WIDTH)
            bar = "=" * full + ">" * (full < _WIDTH)
            return f"[{bar:<{_WIDTH}}] {done}/{total} {self._what} "
        return f"{self._what} ... {time.monotonic() - self._began:.0f} s "

    @staticmethod
    def _write(text: str) -> None:
        try:
            sys.stderr.write(text)
            sys.stderr.flush()
        except (OSError, ValueError):
            return  # the terminal is gone; the work goes on
