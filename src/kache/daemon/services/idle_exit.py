"""End a daemon nobody has asked for a long time."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from kache.daemon.heartbeat import beat

if TYPE_CHECKING:
    from kache.daemon.server import Server

log = logging.getLogger("kache")


async def run(server: Server, interval_s: float = 1.0) -> None:
    """Stop after `idle_timeout` without a frame; 0 means never."""
    limit_s = server.config.idle_timeout_s
    while limit_s > 0:
        await beat(min(interval_s, limit_s))
        if time.monotonic() - server.last_touch >= limit_s and not server.engine.in_flight:
            log.info("idle for %.0f s", limit_s)
            server.stop()
            return
