"""A bar on the terminal for work that takes longer than a second; nothing anywhere else."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from kache.cli.session import Session

_QUIET_S = 1.0
_REDRAW_S = 0.1
_WIDTH = 24


class Progress:
    """Shows how far something is, on stderr.

    Args:
        what: is counted, plural.
        session: the command; one that prints JSON has no bar.
    """

    def __init__(self, what: str, session: Session) -> None:
        self._what = what
        self._shows = sys.stderr.isatty() and not session.as_json
        self._next = time.monotonic() + _QUIET_S
        self._drawn = False

    def __enter__(self) -> Progress:
        return self

    def at(self, done: int, total: int) -> None:
        """So many of so many are done."""
        now = time.monotonic()
        if not self._shows or now < self._next:
            return
        self._next = now + _REDRAW_S
        self._drawn = True
        full = _WIDTH * done // max(total, 1)
        bar = "=" * full + ">" * (full < _WIDTH)
        sys.stderr.write(f"\r[{bar:<{_WIDTH}}] {done}/{total} {self._what} ")
        sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
