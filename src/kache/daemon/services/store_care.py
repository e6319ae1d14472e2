"""Keep the store within its budget, and look at what other hands changed while nobody waits."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

from kache.daemon.heartbeat import beat
from kache.errors import StoreError

if TYPE_CHECKING:
    from kache.daemon.server import Server

log = logging.getLogger("kache")
QUIET_S = 1.0
# Down to a little less than the budget: at the limit itself every record would plan an eviction again.
LEAVE_FREE = 0.1
SLICE_S = 0.05
COPIES_S = 10.0
"""Silence after which copies made for a build are wanted no more."""


async def run(server: Server, interval_s: float = 2.0) -> None:
    """Each interval: evict if the store outgrew its budget; in a quiet moment verify blobs for a little while."""
    while True:
        await beat(interval_s)
        try:
            await _once(server)
        except StoreError as error:
            log.warning("care of the store: %s: %s", error.what, error.why)


async def _once(server: Server) -> None:
    store, budget_bytes = server.engine.store, server.config.max_size_bytes
    if server.config.gc and store.allocated_bytes() > budget_bytes:
        await server.in_thread(server.engine.flush)  # what a living build used is known by its events
        report = await server.in_thread(store.gc, int(budget_bytes * (1 - LEAVE_FREE)))
        log.info("evicted %d entries, %d bytes", report.evicted_entries, report.freed_bytes)
    if time.monotonic() - server.last_touch > COPIES_S:
        store.drop_copies()
    while not server.engine.in_flight and time.monotonic() - server.last_touch > QUIET_S:
        if not await server.in_thread(store.verify_changed, SLICE_S):
            return
        await asyncio.sleep(SLICE_S)
