"""Keeps what goes over a line within a number of bytes a second."""

from __future__ import annotations

import asyncio
import time


class Pace:
    """One line's. Belongs to one event loop.

    Args:
        rate: bytes a second, 0 for no bound.
    """

    def __init__(self, rate: int = 0) -> None:
        self.rate = rate
        self._free_at = 0.0

    async def wait(self, size: int) -> None:
        """Wait until so many bytes may go: each waits for those before it."""
        if self.rate > 0:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + size / self.rate
            await asyncio.sleep(start - now)

    async def passed(self, size: int) -> None:
        """So many bytes have come: wait until more may."""
        if self.rate > 0:
            now = time.monotonic()
            self._free_at = max(self._free_at, now) + size / self.rate
            await asyncio.sleep(self._free_at - now)
