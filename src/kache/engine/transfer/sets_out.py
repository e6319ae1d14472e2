"""Unit sets sent to a remote, once the entries they are made of are there."""

from __future__ import annotations

import contextlib
import logging
import time

import msgspec

from kache import __version__
from kache.core.digest import Digest
from kache.core.unit import SharedSet, Unit, run_key
from kache.engine.transfer.remotes import Remote
from kache.engine.transfer.writes import (
    FAILED,
    FIRST_PAUSE_S,
    LONGEST_PAUSE_S,
    MAX_TRIES,
    PACK_BYTES,
    PACK_ENTRIES,
    REFUSED,
    RemoteWrites,
    members_of,
)
from kache.engine.warm_start.shared import whole
from kache.errors import RemoteError, RemoteObjectError, StoreError
from kache.remote import documents, unit_sets
from kache.remote.documents import EntryManifest, Whereabouts
from kache.remote.unit_sets import UnitSetDocument
from kache.store.local import LocalStore
from kache.store.transfers import Transfer
from kache.store.unit_uploads import WaitingSet

log = logging.getLogger("kache")
_ANY_TIME = 1 << 62
SET = "unit-set"
"""Outcome of what was transferred of a unit set itself."""


class SetWrites:
    """Sends unit sets. Belongs to one event loop.

    Args:
        store: where they wait.
        writes: sends entries.
    """

    def __init__(self, store: LocalStore, writes: RemoteWrites) -> None:
        self._store = store
        self._writes = writes

    async def send_due(self, remote: Remote) -> bool:
        """Send one that is due, unless entries wait that it may name; whether something was sent."""
        place, now_ns = str(remote.place), time.time_ns()
        if remote.secret is None or self._store.uploads.due(place, now_ns, 1):
            return False
        waiting = self._store.unit_uploads.due(place, now_ns)
        if waiting is None:
            return False
        outcome = await self.send(remote, waiting)
        if outcome == FAILED and waiting.tries + 1 < MAX_TRIES:
            pause_s = min(FIRST_PAUSE_S * 2**waiting.tries, LONGEST_PAUSE_S)
            self._store.unit_uploads.postpone(waiting, time.time_ns() + int(pause_s * 1e9))
            return False
        self._end(waiting, outcome)
        return True

    async def send_all(self, remote: Remote) -> tuple[int, int]:
        """Send what waits, due or not; how many were sent, and how many could not be."""
        sent = 0
        while (waiting := self._store.unit_uploads.due(str(remote.place), _ANY_TIME)) is not None:
            outcome = await self.send(remote, waiting)
            if outcome == FAILED:
                return sent, self._store.unit_uploads.count(str(remote.place))
            self._end(waiting, outcome)
            sent += outcome == SET
        return sent, 0

    def _end(self, waiting: WaitingSet, outcome: str) -> None:
        if outcome == SET:
            self._store.unit_uploads.sent(waiting)
        else:
            self._store.unit_uploads.give_up(waiting)

    async def send(self, remote: Remote, waiting: WaitingSet) -> str:
        """Send a set; never raises for what a remote or the store does."""
        before = remote.bulk.sent_bytes
        try:
            queued = msgspec.msgpack.decode(waiting.body, type=SharedSet)
            document = await self._document(remote, queued)
            if document is None:
                return FAILED
            assert remote.secret is not None
            before = remote.bulk.sent_bytes
            await unit_sets.publish(remote.bulk, remote.secret, remote.domain, document)
            remote.writes.close()
            remote.writes.succeeded()
        except (RemoteObjectError, msgspec.MsgspecError) as error:
            log.warning("a unit set is not sent to %s: %s", remote.place, error)
            return REFUSED
        except RemoteError as error:
            if remote.writes.open(error.line):
                log.warning("uploads to %s wait for a while: %s", remote.place, error.line)
            return FAILED
        except (StoreError, OSError) as error:
            log.warning("a unit set is not sent: %s", error)
            return FAILED
        size = remote.bulk.sent_bytes - before
        self._writes.transfers.append(Transfer(time.time_ns(), "", "put", SET, None, 1, size, 0, 0))
        log.info("%d units of a build are in %s", len(document.units), remote.place)
        return SET

    async def _document(self, remote: Remote, queued: SharedSet) -> UnitSetDocument | None:
        """A set with all that its entries' manifests say; None if some of them could not be sent now."""
        own = (key for unit in queued.units if (key := key_of(unit)) is not None)
        keys = list(dict.fromkeys((*own, *queued.keys)))
        place = str(remote.place)
        known = self._store.uploads.places(place, keys)
        if not await self._send_missing(remote, [key for key in keys if key not in known]):
            return None
        known = self._store.uploads.places(place, keys)
        entries: list[EntryManifest] = []
        for key in keys:
            found = self._store.committed(key)
            if found is None or key not in known:
                continue
            entry, memo = found
            there = msgspec.msgpack.decode(known[key], type=Whereabouts)
            content = documents.blanked(entry), memo.inputs, members_of(entry)
            manifest = EntryManifest(*content, there.pack, there.pack_bytes, 0, "", there.part)
            with contextlib.suppress(RemoteObjectError):  # readers would refuse the whole set for its sake
                documents.demand_possible(manifest)
                entries.append(manifest)
        there_keys = {manifest.entry.key for manifest in entries}
        units = whole(unit for unit in queued.units if (key := key_of(unit)) is None or key in there_keys)
        return UnitSetDocument(
            queued.workspace,
            queued.profile,
            queued.toolchain,
            queued.lock,
            queued.intent,
            tuple(units),
            tuple(entries),
            int(time.time()),
            __version__,
        )

    async def _send_missing(self, remote: Remote, keys: list[Digest]) -> bool:
        """Send entries of which it is not known that they are there; whether all that can be sent are."""
        batch: list[Digest] = []
        size = 0
        for key in keys:
            entry = self._store.entry(key)
            if entry is None:
                continue
            batch.append(key)
            size += sum(artifact.size for artifact in entry.artifacts)
            if size >= PACK_BYTES or len(batch) >= PACK_ENTRIES:
                if FAILED in (await self._writes.send(remote, batch)).values():
                    return False
                batch, size = [], 0
        return not batch or FAILED not in (await self._writes.send(remote, batch)).values()


def key_of(unit: Unit) -> Digest | None:
    """The entry that holds the files of a unit; None for a run that left none but small ones."""
    if unit.entry_key:
        return unit.entry_key
    large = [file.digest for file in unit.files if file.digest]
    return run_key(large) if large else None
