"""How quickly a remote has answered and sent of late: what decides a race before it begins."""

from __future__ import annotations

import time
from collections.abc import Callable

_NEWEST = 0.3
"""Weight of the newest observation."""
_KEPT_S = 30.0
"""An older estimate says nothing: else a remote that was slow once would never be asked again."""
_MIN_BULK_BYTES = 4 << 20
"""Less than that in several streams tells nothing of what a line carries."""
_MIN_BYTES = 32 << 10
"""Less than that tells how soon it answers, not how quickly it sends."""


class Speed:
    """What one remote has shown lately.

    Args:
        clock: monotonic, seconds.

    Attributes:
        usual_answer_s: how soon it answers, however long ago it last did; None for a stranger.
        bulk_bytes_per_s: the same of what its line carries in several streams.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._answer_s: float | None = None
        self._bytes_per_s: float | None = None
        self._at = 0.0
        self.bulk_bytes_per_s: float | None = None
        self.usual_answer_s: float | None = None

    def answered(self, seconds: float) -> None:
        """A small object came."""
        self._answer_s = _mixed(self._answer_s, seconds)
        self.usual_answer_s = self._answer_s
        self._at = self._clock()

    def sent(self, size: int, seconds: float) -> None:
        """An object of some size came, in so many seconds from the request on."""
        seconds = max(seconds - (self._answer_s or 0.0), 1e-4)
        if size >= _MIN_BYTES:
            self._bytes_per_s = _mixed(self._bytes_per_s, size / seconds)
            self._at = self._clock()

    def carried(self, size: int, seconds: float) -> None:
        """So many bytes came in several streams at once."""
        if size >= _MIN_BULK_BYTES:
            self.bulk_bytes_per_s = _mixed(self.bulk_bytes_per_s, size / max(seconds, 1e-3))

    def expected_s(self, size: int) -> float:
        """How long an object of some size is expected to take; 0 where nothing is known."""
        if self._clock() - self._at > _KEPT_S:
            return 0.0
        return (self._answer_s or 0.0) + (size / self._bytes_per_s if self._bytes_per_s else 0.0)


def _mixed(before: float | None, now: float) -> float:
    return now if before is None else before + _NEWEST * (now - before)
