"""The daemon's way to remotes: nothing of it is loaded before a call names one."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kache.config.load import load
from kache.engine import progress
from kache.engine.calls import Call
from kache.engine.decisions import Missed
from kache.engine.transfer import policy

if TYPE_CHECKING:
    from kache.daemon.server import Server
    from kache.engine.transfer.fetch import Budget, Fetched
    from kache.engine.transfer.reads import RemoteReads
    from kache.engine.transfer.remotes import Remote, Remotes
    from kache.engine.transfer.sets_in import SetReads
    from kache.engine.transfer.sets_out import SetWrites
    from kache.engine.transfer.writes import RemoteWrites

log = logging.getLogger("kache")


@dataclass(frozen=True, slots=True)
class Opened:
    """What works on remotes."""

    remotes: Remotes
    reads: RemoteReads
    writes: RemoteWrites
    sets_in: SetReads
    sets_out: SetWrites


class Transfers:
    """Opens it once.

    Args:
        server: whose.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.opened: Opened | None = None
        self._is_broken = False

    def remote_of(self, call: Call, missed: Missed) -> Remote | None:
        """Where a build may wait for an entry; None if it should compile."""
        return None if missed.place is None else self.readable(call)

    def readable(self, call: Call) -> Remote | None:
        """The remote of a call, if it is worth asking."""
        if self._server.engine.config(call).remote is None:
            return None
        found = self._open()
        if found is None:
            return None
        remote = found.remotes.of(self._server.engine.config(call), policy.relevant(call.request.env))
        return remote if remote is not None and found.reads.may_have(remote, call.build.id) else None

    async def fetch_entries(self, call: Call, keys: Sequence[bytes], budget: Budget) -> Fetched | None:
        """Bring entries a build is going to want, the first needed first; None if there is no remote to ask.

        What arrives is a local hit, counted as `prefetch_hit` the first time; a call that wants one meanwhile waits for
        it, unless compiling is expected to be quicker.
        """
        remote = self.readable(call)
        if remote is None or self.opened is None:
            return None
        return await self.opened.reads.fetch.fetch_entries(remote, keys, budget, build=call.build.id)

    async def find(self, remote: Remote, call: Call, missed: Missed) -> bool:
        """Whether an entry that fits is in the store now."""
        assert self.opened is not None
        reads, build = self.opened.reads, call.build.id
        if await reads.find(remote, missed, build):
            return True
        own = remote.own
        return own is not None and reads.may_have(own, build) and await reads.find(own, missed, build)

    def is_brought(self, key: bytes) -> bool:
        """Whether a bulk fetch brought an entry; said once, for the first hit of it."""
        return self.opened is not None and self.opened.reads.arrivals.take(key)

    def open_own(self) -> None:
        """Open the remote of the daemon's own configuration."""
        found = self._open()
        if found is not None:
            own = policy.relevant(name + b"=" + value for name, value in os.environb.items())
            found.remotes.of(load(os.environ, None), own)

    def state(self) -> list[dict[str, Any]]:
        """Each open remote, for people who watch."""
        if self.opened is None:
            return []
        return [
            {
                "place": str(remote.place),
                "received_bytes": remote.demand.received_bytes + remote.bulk.received_bytes,
                "sent_bytes": remote.demand.sent_bytes + remote.bulk.sent_bytes,
                "reads_stopped": remote.reads.why,
                "writes_stopped": remote.writes.why,
                "writes": remote.secret is not None,
                "upload_rate": remote.upload_rate,
                "concurrency": remote.concurrency,
                "wait_s": remote.wait_s,
            }
            for remote in self.opened.remotes.all()
        ]

    def close(self) -> None:
        """Stop."""
        if self.opened is not None:
            self.opened.writes.close()

    def _open(self) -> Opened | None:
        if self.opened is None and not self._is_broken:
            try:
                from kache.engine.transfer.reads import RemoteReads
                from kache.engine.transfer.remotes import Remotes
                from kache.engine.transfer.sets_in import SetReads
                from kache.engine.transfer.sets_out import SetWrites
                from kache.engine.transfer.writes import RemoteWrites
            except ImportError as error:
                self._is_broken = True
                log.warning("no remote is used: %s", error)
                return None
            server, engine, store = self._server, self._server.engine, self._server.engine.store
            reads = RemoteReads(store, engine.digests, server.in_thread, progress.warn)
            writes = RemoteWrites(store)
            sets_in = SetReads(store, engine.digests, reads.fetch, server.in_thread, reads.transfers_add)
            self.opened = Opened(Remotes(), reads, writes, sets_in, SetWrites(store, writes))
        return self.opened
