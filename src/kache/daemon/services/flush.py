"""Write events and file digests a moment after they came, many in one transaction."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from kache.daemon.heartbeat import beat

if TYPE_CHECKING:
    from kache.daemon.server import Server


async def run(server: Server, interval_s: float = 0.5, busy_s: float = 5.0) -> None:
    """Look every `interval_s` seconds; a killed daemon loses at most `busy_s` of its counters.

    While rustc runs, a transaction twice a second would be a tenth of what a cold build costs the daemon.
    """
    written_at = time.monotonic()
    while True:
        await beat(interval_s)
        if not server.engine.events.has_unwritten:
            continue
        if not server.engine.in_flight or time.monotonic() - written_at > busy_s:
            written_at = time.monotonic()
            await server.in_thread(server.engine.flush)
