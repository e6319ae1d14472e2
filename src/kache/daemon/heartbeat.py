"""When work beside answering looks whether there is any: all of it in one wake-up, since each one costs a build."""

from __future__ import annotations

import asyncio
import time


async def beat(interval_s: float) -> None:
    """Sleep until the next multiple of an interval on the monotonic clock.

    Intervals are multiples or halves of each other, so that what sleeps for one wakes together with what sleeps for
    another.
    """
    await asyncio.sleep(interval_s - time.monotonic() % interval_s)
