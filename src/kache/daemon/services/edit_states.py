"""Make incremental state of what was edited, when its build has ended."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from kache.daemon.heartbeat import beat

if TYPE_CHECKING:
    from kache.daemon.server import Server


async def run(server: Server, interval_s: float = 0.25, idle_s: float = 1.0) -> None:
    """Look every `interval_s` seconds while there is something to make."""
    states = server.engine.edit_states
    try:
        while True:
            await beat(interval_s if states.count else idle_s)
            if states.count:
                states.step(may_begin=not server.engine.in_flight)
    except asyncio.CancelledError:
        states.stop()
        raise
