"""Send what waits in the queue, ask remotes that failed whether they are well, write down what went over the wire.

Sleeps on a look at one number while no remote was ever named.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from kache.config.load import load
from kache.daemon.heartbeat import beat
from kache.errors import KacheError, StoreError

if TYPE_CHECKING:
    from kache.daemon.server import Server
    from kache.engine.transfer.remotes import Remote

log = logging.getLogger("kache")
_PROBE = "v1/probe"


async def run(server: Server, interval_s: float = 0.5) -> None:
    """Look every `interval_s` seconds, and half as often while no remote was named."""
    if load(os.environ, None).remote is not None:
        server.transfers.open_own()  # what waits from before is sent without waiting for a build
    while True:
        await beat(interval_s if server.transfers.opened else 2 * interval_s)
        try:
            await once(server)
        except StoreError as error:
            log.warning("uploads: %s: %s", error.what, error.why)


async def once(server: Server) -> bool:
    """One round; whether something was sent and more may wait."""
    found = server.transfers.opened
    if found is None:
        return False
    more = False
    engine = server.engine
    is_calm = server.draining or not (engine.in_flight or engine.traces.builds() or engine.learning.builds())
    for remote in found.remotes.writable().values():
        if remote.writes.is_closed or remote.writes.is_probe_due:
            while await found.writes.send_due(remote, is_calm=is_calm):
                more = True
            while await found.sets_out.send_due(remote):
                more = True
    for remote in found.remotes.all():
        if remote.reads.is_probe_due:
            remote.reads.probing()
            server.keep(server.loop.create_task(_probe(remote)))
    places, found.reads.places = found.reads.places, {}
    for place, known in places.items():
        await server.in_thread(server.engine.store.uploads.note_places, place, known)
    transfers = [*found.reads.transfers, *found.writes.transfers]
    if transfers:
        found.reads.transfers, found.writes.transfers = [], []
        await server.in_thread(server.engine.store.uploads.note, transfers)
        await server.in_thread(server.engine.store.uploads.trim, server.config.remote_queue)
    return more


async def _probe(remote: Remote) -> None:
    """Ask for something that is not there: an answer is an answer."""
    try:
        await remote.demand.get(_PROBE, 1)
    except KacheError as error:
        remote.reads.open(error.line)
    else:
        remote.reads.close()
        log.info("remote %s answers again", remote.place)
