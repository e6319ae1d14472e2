"""When a cargo has ended, keep what it left as units for the next fresh target."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from kache.daemon.heartbeat import beat
from kache.errors import StoreError

if TYPE_CHECKING:
    from kache.daemon.server import Server

_IDLE_S = 1.0
log = logging.getLogger("kache")


async def run(server: Server, interval_s: float = 0.25) -> None:
    """Look every `interval_s` seconds for builds whose process is gone; seldom while there is none to look for."""
    while True:
        await beat(interval_s if server.engine.traces.builds() else _IDLE_S)
        await once(server)


async def once(server: Server) -> None:
    """Capture the builds that have ended; one caller at a time, since cargo's lock is held meanwhile."""
    async with server.capturing:
        await _all(server)


async def _all(server: Server) -> None:
    for build in server.engine.traces.builds():
        if not server.is_done_with(build):
            continue
        try:
            count = await server.in_thread(server.engine.warm_start.capture, build)
            log.debug("captured %s units of build %s", count, build)
        except (OSError, StoreError) as error:
            log.warning("cannot capture build %s: %s", build, error)
