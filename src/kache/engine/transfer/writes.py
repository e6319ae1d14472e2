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
from pathlib import Path

from kache import __version__
from kache.core.entry import Entry, InputMemo
from kache.engine.transfer import manifests
from kache.engine.transfer.policy import source_of
from kache.engine.transfer.remotes import Remote
from kache.errors import BlobBrokenError, KacheError, RemoteError, RemoteObjectError, StoreError
from kache.remote import documents, exchange, layout
from kache.remote.documents import EntryManifest, Member
from kache.remote.exchange import Publication, Published
from kache.remote.pack import write_pack
from kache.remote.trust import SecretKey
from kache.store.local import LocalStore
from kache.store.transfers import Transfer, Waiting

log = logging.getLogger("kache")
AT_ONCE = 4
"""Uploads at one time: packing takes one thread, the rest is the server's time."""
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

    async def send_due(self, remote: Remote, limit: int = AT_ONCE) -> int:
        """Send what is due, a few at a time.

        Returns:
            How many were taken out of the queue; 0 when there is nothing to do or the remote is out of order.
        """
        items = self._store.uploads.due(str(remote.place), time.time_ns(), limit)
        if not items:
            return 0
        outcomes = await asyncio.gather(*(self.send(remote, item.key) for item in items))
        done = [item for item, outcome in zip(items, outcomes, strict=True) if outcome != FAILED]
        self._store.uploads.done(done)
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome == FAILED:
                self._later(item)
        return len(done)

    def _later(self, item: Waiting) -> None:
        if item.tries + 1 >= MAX_TRIES:
            log.warning(
                "entry %s is not sent to %s: given up after %d tries", item.key.hex()[:16], item.place, MAX_TRIES
            )
            self._store.uploads.done([item])
            return
        pause_s = min(FIRST_PAUSE_S * 2**item.tries, LONGEST_PAUSE_S)
        self._store.uploads.postpone([item], time.time_ns() + int(pause_s * 1e9))

    async def send(self, remote: Remote, key: bytes) -> str:
        """Send one entry; see `Transfer.outcome`. Never raises for what a remote or the store does."""
        before = remote.bulk.sent_bytes
        entry = None
        try:
            # Of the index: a queued upload is seen here before memory has learnt of its commit.
            found = self._store.committed(key)
            if remote.secret is None:
                outcome = GONE
            elif found is None:
                outcome = await self._send_build(remote, remote.secret, key)
            else:
                entry = found[0]
                outcome = await self._send(remote, remote.secret, *found)
            remote.writes.close()
            remote.writes.succeeded()
        except BlobBrokenError:
            outcome = GONE
        except RemoteObjectError as error:
            outcome = REFUSED
            log.warning("%s is not sent to %s: %s", key.hex()[:16], remote.place, error.line)
        except RemoteError as error:
            outcome = FAILED
            if remote.writes.open(error.line):
                log.warning("uploads to %s wait for a while: %s", remote.place, error.line)
        except (StoreError, OSError) as error:
            outcome = FAILED
            log.warning("%s is not sent: %s", key.hex()[:16], error.line if isinstance(error, KacheError) else error)
        if outcome == Published.DIFFERS and entry is not None:
            log.warning(
                "%s: %s holds another result for the same inputs; it stays as it is. Is its build reproducible?",
                entry.crate_name,
                remote.place,
            )
        sent = remote.bulk.sent_bytes - before
        if entry is not None or outcome == GONE:
            compile_ms = entry.compile_ms if entry is not None else 0
            self.transfers.append(Transfer(time.time_ns(), "", "put", str(outcome), key, 3, sent, 0, compile_ms))
        return str(outcome)

    async def _send(self, remote: Remote, secret: SecretKey, entry: Entry, memo: InputMemo) -> str:
        loop = asyncio.get_running_loop()
        path = Path(os.fsdecode(self._store.temp()))
        try:
            manifest = await loop.run_in_executor(self._pool, self._packed, entry, memo, path)
            await self._pace.wait(manifest.pack_bytes, remote.upload_rate)
            what = publication(remote.domain, manifest, memo, path)
            return await exchange.publish(remote.bulk, secret, remote.trusted, what)
        finally:
            with contextlib.suppress(OSError):
                os.unlink(path)

    async def _send_build(self, remote: Remote, secret: SecretKey, record_id: bytes) -> str:
        """Send what a build used, if it is one's id that waits in the queue."""
        record = self._store.records.one(record_id)
        return GONE if record is None else str(await manifests.send(remote, secret, record))

    def _packed(self, entry: Entry, memo: InputMemo, path: Path) -> EntryManifest:
        members = members_of(entry)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            packed = write_pack(fd, members, self._store.open_blob)
        finally:
            os.close(fd)
        return EntryManifest(
            documents.blanked(entry), memo.inputs, members, packed.digest, packed.size, int(time.time()), __version__
        )


class Pace:
    """Keeps uploads within a number of bytes a second. Belongs to one event loop."""

    def __init__(self) -> None:
        self._free_at = 0.0

    async def wait(self, size: int, rate: int) -> None:
        """Wait until so many bytes may go."""
        if rate > 0:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + size / rate
            await asyncio.sleep(start - now)


def members_of(entry: Entry) -> tuple[Member, ...]:
    """The blobs of an entry, each once."""
    return tuple(Member(digest, size) for digest, size in {a.digest: a.size for a in entry.artifacts}.items())


def publication(domain: str, manifest: EntryManifest, memo: InputMemo, pack: Path) -> Publication:
    """What is sent of an entry that is packed."""
    return Publication(
        layout.entry_subject(domain, memo.key),
        layout.locator(domain, memo.weak_key, source_of(memo.inputs)),
        manifest,
        pack,
        documents.path_set(memo.inputs),
    )


def pending_of(store: LocalStore, remotes: Sequence[Remote]) -> int:
    """How much waits for those that can be sent to."""
    return sum(store.uploads.count(str(remote.place)) for remote in remotes)


def _yield_to_compilers() -> None:
    """Packing takes a core for a while: on Linux a thread has a priority of its own."""
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
