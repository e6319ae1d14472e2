"""Entries sent to a remote, out of the store and the queue in its index."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from kache import __version__
from kache.core.digest import Digest
from kache.core.entry import Entry, InputMemo
from kache.core.unit import RUN_KIND
from kache.engine.transfer import manifests
from kache.engine.transfer.policy import source_of
from kache.engine.transfer.remotes import Remote
from kache.errors import BlobBrokenError, KacheError, RemoteError, RemoteObjectError, StoreError
from kache.remote import documents, exchange, layout
from kache.remote.documents import EntryManifest, Member, Part
from kache.remote.exchange import Publication, Published
from kache.remote.pace import Pace
from kache.remote.pack import PackWriter, write_pack
from kache.remote.trust import SecretKey
from kache.store.local import LocalStore
from kache.store.transfers import Transfer, Waiting

log = logging.getLogger("kache")
AT_ONCE = 8
"""Documents sent at one time: they are small, the rest is the server's time."""
PACK_BYTES = 64 << 20
"""Of blobs before they are compressed: some 16 MB over the wire."""
PACK_ENTRIES = 256
PACK_WAIT_S = 20.0
"""How long what a build made waits for more, to go in one pack with it."""
FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 3600.0
MAX_TRIES = 20
_NICE = 15
GONE = "gone"
FAILED = "failed"
REFUSED = "refused"


class RemoteWrites:
    """Sends entries. Belongs to one event loop.

    Args:
        store: where they are.
    """

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="kache-pack", initializer=_yield_to_compilers)
        self._pace = Pace()
        self.transfers: list[Transfer] = []

    def close(self) -> None:
        """Start no more packs."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def send_due(self, remote: Remote, *, is_calm: bool = True) -> int:
        """Send what is due, as one pack.

        Args:
            remote: where to.
            is_calm: nothing is being built. Else a pack that is not full waits for more, for a while.

        Returns:
            How many were taken out of the queue; 0 when there is nothing to do or the remote is out of order.
        """
        items = self._store.uploads.due(str(remote.place), time.time_ns(), PACK_ENTRIES)
        items, is_full = self._first_pack(items)
        if not items or not (is_full or is_calm or _waits_long(items)):
            return 0
        outcomes = await self.send(remote, [item.key for item in items])
        done = [item for item in items if outcomes[item.key] != FAILED]
        self._store.uploads.done(done)
        for item in items:
            if outcomes[item.key] == FAILED:
                self._later(item)
        return len(done)

    def _first_pack(self, items: list[Waiting]) -> tuple[list[Waiting], bool]:
        """The first of them that fill a pack, and whether they do."""
        size = 0
        for count, item in enumerate(items, 1):
            found = self._store.entry(item.key)
            size += sum(artifact.size for artifact in found.artifacts) if found is not None else 0
            if size >= PACK_BYTES:
                return items[:count], True
        return items, len(items) >= PACK_ENTRIES

    def _later(self, item: Waiting) -> None:
        if item.tries + 1 >= MAX_TRIES:
            log.warning(
                "entry %s is not sent to %s: given up after %d tries", item.key.hex()[:16], item.place, MAX_TRIES
            )
            self._store.uploads.done([item])
            return
        pause_s = min(FIRST_PAUSE_S * 2**item.tries, LONGEST_PAUSE_S)
        self._store.uploads.postpone([item], time.time_ns() + int(pause_s * 1e9))

    async def send(self, remote: Remote, keys: Sequence[Digest]) -> dict[Digest, str]:
        """Send entries in one pack; outcomes are `Transfer`'s. Never raises for what a remote or the store does."""
        before = remote.bulk.sent_bytes
        batch = Batch(dict.fromkeys(keys, GONE))
        try:
            if remote.secret is not None:
                await self._send(remote, remote.secret, batch)
            remote.writes.close()
            remote.writes.succeeded()
        except RemoteError as error:
            batch.rest_failed()
            if remote.writes.open(error.line):
                log.warning("uploads to %s wait for a while: %s", remote.place, error.line)
        except (StoreError, OSError) as error:
            batch.rest_failed()
            why = error.line if isinstance(error, KacheError) else error
            log.warning("%d entries are not sent: %s", len(batch.outcomes), why)
        self._note(batch, remote.bulk.sent_bytes - before)
        return batch.outcomes

    async def _send(self, remote: Remote, secret: SecretKey, batch: Batch) -> None:
        loop = asyncio.get_running_loop()
        path = Path(os.fsdecode(self._store.temp()))
        try:
            await loop.run_in_executor(self._pool, self._pack, batch, path)
            if batch.ready:
                await self._send_packed(remote, secret, batch, path)
            await self._send_builds(remote, secret, batch)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)

    async def _send_packed(self, remote: Remote, secret: SecretKey, batch: Batch, path: Path) -> None:
        manifest = batch.ready[0][0]
        batch.is_under_way = True
        self._pace.rate = remote.upload_rate
        await self._pace.wait(manifest.pack_bytes)
        await exchange.publish_pack(remote.bulk, manifest.pack, path)
        at_once = asyncio.Semaphore(AT_ONCE)
        places: dict[bytes, bytes] = {}
        done = await asyncio.gather(
            *(self._publish(remote, secret, batch, each, places, at_once) for each in batch.ready),
            return_exceptions=True,
        )
        self._store.uploads.note_places(str(remote.place), places)
        for failure in done:
            if failure is not None:
                raise failure

    async def _send_builds(self, remote: Remote, secret: SecretKey, batch: Batch) -> None:
        """Send what builds used: of the keys in the queue those that are ids of records."""
        for key in batch.unknown:
            record = self._store.records.one(key)
            if record is not None:
                batch.builds.add(key)
                batch.outcomes[key] = FAILED
                try:
                    batch.outcomes[key] = str(await manifests.send(remote, secret, record))
                except RemoteObjectError as error:
                    batch.outcomes[key] = REFUSED
                    log.warning("what a build used is not sent to %s: %s", remote.place, error.line)

    async def _publish(
        self,
        remote: Remote,
        secret: SecretKey,
        batch: Batch,
        ready: tuple[EntryManifest, InputMemo],
        places: dict[bytes, bytes],
        at_once: asyncio.Semaphore,
    ) -> None:
        manifest, memo = ready
        key, crate = manifest.entry.key, manifest.entry.crate_name
        batch.outcomes[key] = FAILED
        try:
            async with at_once:
                what = publication(remote.domain, manifest, memo)
                outcome, kept = await exchange.publish(remote.bulk, secret, remote.trusted, what)
        except RemoteObjectError as error:
            batch.outcomes[key] = REFUSED
            log.warning("%s is not sent to %s: %s", crate, remote.place, error.line)
            return
        batch.outcomes[key] = str(outcome)
        if outcome == Published.DIFFERS:
            log.warning(
                "%s: %s holds another result for the same inputs; it stays as it is. Is its build reproducible?",
                crate,
                remote.place,
            )
        else:
            places[key] = documents.whereabouts(kept)

    def _pack(self, batch: Batch, path: Path) -> None:
        """Write the pack of a batch; what is no longer as it was stays out."""
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            writer = PackWriter(fd, self._store.open_blob)
            parts: list[tuple[Entry, InputMemo, Part]] = []
            for key in batch.outcomes:
                # Of the index: a queued upload is seen here before memory has learnt of its commit.
                found = self._store.committed(key)
                if found is None:
                    batch.unknown.append(key)
                    continue
                try:
                    parts.append((*found, writer.add(members_of(found[0]))))
                except BlobBrokenError:
                    continue
                except RemoteObjectError as error:
                    batch.outcomes[key] = REFUSED
                    log.warning("%s is not sent: %s", found[0].crate_name, error.line)
            if not parts:
                return
            if len(parts) == 1:  # one alone needs no parts
                os.ftruncate(fd, 0)
                os.lseek(fd, 0, os.SEEK_SET)
                packed = write_pack(fd, members_of(parts[0][0]), self._store.open_blob)
            else:
                packed = writer.finish()
        finally:
            os.close(fd)
        for entry, memo, part in parts:
            whole = len(parts) == 1
            manifest = EntryManifest(
                documents.blanked(entry),
                memo.inputs,
                members_of(entry),
                packed.digest,
                packed.size,
                int(time.time()),
                __version__,
                None if whole else part,
            )
            batch.ready.append((manifest, memo))

    def _note(self, batch: Batch, sent: int) -> None:
        """Write down what went over the wire; what belongs to no entry alone goes to the first."""
        now_ns = time.time_ns()
        known = {manifest.entry.key: manifest for manifest, _ in batch.ready} if batch.is_under_way else {}
        own = {key: known[key].wire_bytes if key in known else 0 for key in batch.outcomes}
        rest = max(sent - sum(own.values()), 0)
        requests = 3 if known else 0
        for key, outcome in batch.outcomes.items():
            if key in batch.builds:
                continue
            compile_ms = known[key].entry.compile_ms if key in known else 0
            size = min(own[key], sent) + rest
            self.transfers.append(Transfer(now_ns, "", "put", outcome, key, requests, size, 0, compile_ms))
            rest, requests = 0, min(requests, 2)


@dataclass(slots=True)
class Batch:
    """Entries that are sent together.

    Attributes:
        outcomes: of each, by key; those that are not in the store are `gone`.
        unknown: keys of no entry.
        builds: those of them that are ids of records of builds.
        ready: manifest and memo of those that are packed.
        is_under_way: the pack may have reached the remote.
    """

    outcomes: dict[Digest, str]
    unknown: list[Digest] = field(default_factory=list)
    builds: set[Digest] = field(default_factory=set)
    ready: list[tuple[EntryManifest, InputMemo]] = field(default_factory=list)
    is_under_way: bool = False

    def rest_failed(self) -> None:
        """Something went wrong: what is in the remote by now is, the rest is not."""
        done = (Published.STORED, Published.PRESENT, Published.DIFFERS, REFUSED)
        for key, outcome in self.outcomes.items():
            if outcome not in done:
                self.outcomes[key] = FAILED


def members_of(entry: Entry) -> tuple[Member, ...]:
    """The blobs of an entry, each once."""
    return tuple(Member(digest, size) for digest, size in {a.digest: a.size for a in entry.artifacts}.items())


def publication(domain: str, manifest: EntryManifest, memo: InputMemo) -> Publication:
    """What is sent of an entry whose pack is there."""
    return Publication(
        layout.entry_subject(domain, memo.key),
        layout.locator(domain, memo.weak_key, source_of(memo.inputs)),
        manifest,
        documents.path_set(memo.inputs) if manifest.entry.unit_kind != RUN_KIND else None,
    )


def pending_of(store: LocalStore, remotes: Sequence[Remote]) -> int:
    """How much waits for those that can be sent to."""
    return sum(store.uploads.count(str(remote.place)) for remote in remotes)


def _waits_long(items: Sequence[Waiting]) -> bool:
    return time.time_ns() - items[0].queued_ns > PACK_WAIT_S * 1e9


def _yield_to_compilers() -> None:
    """Packing takes a core for a while: on Linux a thread has a priority of its own."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
