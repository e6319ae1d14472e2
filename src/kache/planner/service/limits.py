"""How much one client may ask: requests a second, and bytes of one request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable

MAX_QUESTION_BYTES = 4 << 20
MAX_REPORT_BYTES = 32 << 20
_CLIENTS_KEPT = 10_000


class TooMuch(Exception):  # noqa: N818 - an answer, not an accident
    """A body is longer than it may be."""


class Rate:
    """A bucket of tokens for each client: so many a second, and twice that at once.

    Args:
        per_s: requests a second; 0 for no bound.
        clock: monotonic, in seconds.
    """

    def __init__(self, per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s = per_s
        self._most = max(2 * per_s, 1.0)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_s(self, client: str) -> float:
        """Take a token; 0 if there was one, else after how many seconds there will be."""
        if self._per_s <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            left, then = self._left.pop(client, (self._most, now))
            left = min(left + (now - then) * self._per_s, self._most)
            taken = left >= 1
            self._left[client] = (left - 1 if taken else left), now
            if len(self._left) > _CLIENTS_KEPT:
                self._left.popitem(last=False)
            return 0.0 if taken else (1 - left) / self._per_s


async def whole(stream: AsyncIterator[bytes], limit_bytes: int) -> bytes:
    """All of a body, never more than a limit in memory.

    Raises:
        TooMuch: it is longer.
    """
    parts, size = [], 0
    async for part in stream:
        size += len(part)
        if size > limit_bytes:
            raise TooMuch
        parts.append(part)
    return b"".join(parts)
