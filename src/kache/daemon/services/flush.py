"""Write events and file digests a moment after they came, many in one transaction."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kache.daemon.server import Server


async def run(server: Server, interval_s: float = 0.5) -> None:
    """Look every `interval_s` seconds; a killed daemon loses at most that much of its counters."""
    while True:
        await asyncio.sleep(interval_s)
        if server.engine.has_unwritten:
            await server.in_thread(server.engine.flush)
