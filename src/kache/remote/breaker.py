"""A circuit breaker: after a failure nobody waits for that server again until a probe has found it well. Pure."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field

FIRST_PAUSE_S = 2.0
LONGEST_PAUSE_S = 120.0


@dataclass(slots=True)
class Breaker:
    """Whether a server may be asked.

    Args:
        clock: monotonic, seconds.

    Attributes:
        why: what opened it; empty while it is closed.
        opened_count: how often that happened.
    """

    clock: Callable[[], float] = time.monotonic
    why: str = ""
    opened_count: int = 0
    _pause_s: float = field(default=0.0)
    _probe_at: float = field(default=0.0)

    @property
    def is_closed(self) -> bool:
        """Whether requests may go out."""
        return not self.why

    @property
    def is_probe_due(self) -> bool:
        """Whether it is time to ask, with nobody waiting for the answer."""
        return bool(self.why) and self.clock() >= self._probe_at

    def open(self, why: str) -> bool:
        """Note a failure: no requests for a while, each time for longer.

        Returns:
            Whether it was closed, so that this is news.
        """
        was_closed, self.why = not self.why, why
        self._pause_s = min(max(self._pause_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        # Many clients lose one server at the same moment; they should not all come back at the same.
        self._probe_at = self.clock() + self._pause_s * random.uniform(0.8, 1.2)  # noqa: S311
        self.opened_count += was_closed
        return was_closed

    def probing(self) -> None:
        """A probe is under way: none is due until it has ended, one way or the other."""
        self._probe_at = self.clock() + LONGEST_PAUSE_S

    def close(self) -> None:
        """A probe was answered."""
        self.why = ""

    def succeeded(self) -> None:
        """A request was answered: the next failure is a first one again."""
        if not self.why:
            self._pause_s = 0.0
