"""When a cargo has ended, keep a record of what it used (docs/explanation/planner.md)."""

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
        await beat(interval_s if server.engine.learning.builds() else _IDLE_S)
        await once(server)


async def once(server: Server) -> None:
    """Make records of the builds that have ended."""
    for build in server.engine.learning.builds():
        if not server.is_done_with(build):
            continue
        try:
            record = await server.in_thread(server.engine.learning.finish, build, server.prefetches.score)
        except (OSError, StoreError) as error:
            log.warning("cannot keep what build %s used: %s", build, error)
            continue
        if record is not None:
            log.debug("build %s used %d units", build, len(record.units))
