"""Tell the planner service of builds that ended, out of the queue in the index; none is named, nothing is done."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

from kache.config.load import load
from kache.daemon.heartbeat import beat
from kache.engine.prefetch.learning import PLANNER_PLACE
from kache.errors import PlannerError, StoreError

if TYPE_CHECKING:
    from kache.daemon.server import Server
    from kache.store.transfers import Waiting

log = logging.getLogger("kache")
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
MAX_TRIES = 20
_AT_ONCE = 8


async def run(server: Server, interval_s: float = 1.0) -> None:
    """Look every `interval_s` seconds."""
    own = load(os.environ, None).planner
    if own:
        server.prefetches.planners.setdefault(own, os.environ.get("KACHE_PLANNER_TOKEN", ""))
    while True:
        await beat(interval_s)
        try:
            await once(server)
        except StoreError as error:
            log.warning("reports to the planner: %s: %s", error.what, error.why)


async def once(server: Server) -> None:
    """Send what is due."""
    uploads = server.engine.store.uploads
    for url, token in list(server.prefetches.planners.items()):
        for item in uploads.due(PLANNER_PLACE + url, time.time_ns(), _AT_ONCE):
            try:
                await asyncio.to_thread(_send, server, item, url, token)
            except PlannerError as error:
                log.info("a build is not told to %s yet: %s", url, error.line)
                if item.tries + 1 >= MAX_TRIES:
                    uploads.done([item])
                else:
                    pause_s = min(FIRST_PAUSE_S * 2**item.tries, LONGEST_PAUSE_S)
                    uploads.postpone([item], time.time_ns() + int(pause_s * 1e9))
                break
            uploads.done([item])


def _send(server: Server, item: Waiting, url: str, token: str) -> None:
    from kache.planner.client import PlannerClient

    record = server.engine.store.records.one(item.key)
    if record is not None:
        PlannerClient(url, token).report(record)
