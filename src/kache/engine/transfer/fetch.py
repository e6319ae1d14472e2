"""Many entries at once, for builds: out of few packs, in parallel, in the order in which they will be needed.

Whoever knows which entries a build will want calls `fetch_entries` (their keys are known) or `fetch` (their manifests
are). What arrives is a local hit from then on, counted as `prefetch_hit` the first time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kache.core.digest import Digest
from kache.core.entry import InputMemo
from kache.engine.transfer.arrivals import Arrivals, Course
from kache.engine.transfer.landing import demand_keys
from kache.engine.transfer.remotes import Remote
from kache.engine.transfer.stretch import Reel, Stretch, stretches
from kache.errors import KacheError, RemoteError, RemoteObjectError, StoreError
from kache.remote import exchange, layout
from kache.remote.documents import EntryManifest
from kache.store.local import LocalStore
from kache.store.transfers import Transfer

log = logging.getLogger("kache")
STREAMS = 6
"""Requests for packs at one time: enough to fill a line in spite of its delay, few enough to come in order."""
_FEED_BYTES = 1 << 20
InThread = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Budget:
    """What a fetch may cost.

    Attributes:
        seconds: it stops when they have passed; what has arrived by then is here.
        bytes: over the wire; entries beyond it are not asked for.
    """

    seconds: float = 60.0
    bytes: int = 4 << 30


@dataclass(slots=True)
class Fetched:
    """What came of a fetch.

    Attributes:
        wanted: entries asked for.
        here: of those, in the store before.
        arrived: brought.
        absent: the remote has no such entry, or its pack is gone.
        refused: not to be trusted.
        left: beyond the budget, or the remote stood still.
        bytes, requests: over the wire.
        keys: of the entries that are in the store now.
    """

    wanted: int = 0
    here: int = 0
    arrived: int = 0
    absent: int = 0
    refused: int = 0
    left: int = 0
    bytes: int = 0
    requests: int = 0
    keys: set[Digest] = field(default_factory=set)


class EntryFetch:
    """Brings entries. Belongs to one event loop.

    Args:
        store: where they go.
        in_thread: runs blocking work beside the loop.
        arrivals: told what comes.
        transfers: rows for what went over the wire are appended to it.
    """

    def __init__(
        self, store: LocalStore, in_thread: InThread, arrivals: Arrivals, transfers: Callable[[Transfer], None]
    ) -> None:
        self._store = store
        self._in_thread = in_thread
        self._arrivals = arrivals
        self._note = transfers

    async def fetch_entries(
        self, remote: Remote, keys: Sequence[Digest], budget: Budget, *, build: str = ""
    ) -> Fetched:
        """Bring entries by their cache keys: one request a manifest, then few for their packs.

        Args:
            remote: from where; nothing is asked while its breaker is open.
            keys: the one needed first comes first.
            budget: of all of it.
            build: whose it is, for the record.
        """
        started = time.monotonic()
        made = Fetched(len(keys))
        manifests: dict[Digest, EntryManifest] = {}
        await self._in_thread(self._forget_what_went)
        waiting = [key for key in keys if self._store.entry(key) is None]
        made.here = len(keys) - len(waiting)
        made.keys.update(set(keys) - set(waiting))
        if not waiting or not remote.reads.is_closed:
            made.left = len(waiting)
            return made
        at_once = asyncio.Semaphore(remote.concurrency)

        async def one(key: Digest) -> None:
            async with at_once:
                made.requests += 1
                asked = time.monotonic()
                try:
                    found = await exchange.manifest(
                        remote.demand, remote.trusted, layout.entry_subject(remote.domain, key)
                    )
                    remote.speed.answered(time.monotonic() - asked)
                    if found is None:
                        made.absent += 1
                        return
                    demand_keys(found, key)
                    manifests[key] = found
                except RemoteObjectError as error:
                    made.refused += 1
                    log.warning("an entry of %s is refused: %s", remote.place, error.line)

        try:
            async with asyncio.timeout(budget.seconds), asyncio.TaskGroup() as group:
                for key in waiting:
                    group.create_task(one(key))
        except* TimeoutError:
            log.info("manifests of %s: stopped after %.1f s", remote.place, budget.seconds)
        except* RemoteError as errors:
            _give_up(remote, errors.exceptions[0])
        left_s = budget.seconds - (time.monotonic() - started)
        made.left += len(waiting) - len(manifests) - made.absent - made.refused
        wanted = [manifests[key] for key in waiting if key in manifests]
        found = await self.fetch(remote, wanted, Budget(left_s, budget.bytes), build=build)
        made.arrived, made.bytes = found.arrived, found.bytes
        made.absent, made.refused, made.left = (
            made.absent + found.absent,
            made.refused + found.refused,
            made.left + found.left,
        )
        made.requests += found.requests
        made.keys |= found.keys
        return made

    async def fetch(
        self,
        remote: Remote,
        manifests: Sequence[EntryManifest],
        budget: Budget,
        *,
        build: str = "",
        progress: Callable[[Fetched, Course], None] | None = None,
        date_ns: int | None = None,
    ) -> Fetched:
        """Bring entries whose manifests were verified; the other arguments are `fetch_entries`'.

        Args:
            remote: from where.
            manifests: the one needed first comes first.
            budget: of all of it.
            build: whose it is.
            progress: told whenever some bytes have come.
            date_ns: what the blobs are dated; None for now.
        """
        made = Fetched(len(manifests))
        self._arrivals.learn(manifests)
        wanted = await self._in_thread(self._missing, manifests, made)
        wanted = self._within(wanted, budget, made)
        if not remote.reads.is_closed or budget.seconds <= 0:
            made.left += len(wanted)
            return made
        course = self._arrivals.begin(wanted)
        work = iter(stretches(wanted))
        run = _Run(remote, made, course, build, progress, date_ns)

        async def worker() -> None:
            for stretch in work:
                await self._one(run, stretch)

        try:
            async with asyncio.timeout(budget.seconds), asyncio.TaskGroup() as group:
                for _ in range(min(STREAMS, remote.concurrency)):
                    group.create_task(worker())
        except* TimeoutError:
            log.info("fetching from %s stopped after %.1f s", remote.place, budget.seconds)
        except* RemoteError as errors:
            _give_up(remote, errors.exceptions[0])
        except* (StoreError, OSError) as errors:
            error = errors.exceptions[0]
            why = error.line if isinstance(error, KacheError) else str(error)
            log.warning("what comes from %s cannot be stored: %s", remote.place, why)
        finally:
            remote.speed.carried(course.arrived_bytes, course.elapsed_s())
            for manifest in wanted:
                key = manifest.entry.key
                made.left += key not in run.ended
                self._arrivals.ended(key, had=key in made.keys)
        return made

    def _forget_what_went(self) -> None:
        """What memory has may have been purged by another process meanwhile: it would count as here."""
        with contextlib.suppress(StoreError):
            self._store.refresh()

    def _missing(self, manifests: Iterable[EntryManifest], made: Fetched) -> list[EntryManifest]:
        """Those whose blobs have to come; the others are committed if they are not here."""
        self._forget_what_went()
        wanted = []
        for manifest in manifests:
            entry = manifest.entry
            if self._store.entry(entry.key) is not None:
                made.here += 1
                made.keys.add(entry.key)
            elif self._arrivals.expected_s(entry.key) is not None:
                made.left += 1  # another fetch is about to bring it
            elif manifest.members and not all(self._store.has_blob(member.digest) for member in manifest.members):
                wanted.append(manifest)
            else:
                with contextlib.suppress(StoreError):
                    self._store.commit(entry, InputMemo(entry.weak_key, entry.key, manifest.inputs), [])
                    made.here += 1
                    made.keys.add(entry.key)
        return wanted

    @staticmethod
    def _within(manifests: Sequence[EntryManifest], budget: Budget, made: Fetched) -> list[EntryManifest]:
        room = budget.bytes
        chosen = []
        for manifest in manifests:
            if manifest.wire_bytes > room:
                made.left += 1
                continue
            room -= manifest.wire_bytes
            chosen.append(manifest)
        return chosen

    async def _one(self, run: _Run, stretch: Stretch) -> None:
        """Read one stretch of a pack, and store what it holds as it comes."""
        reel = Reel(self._store, stretch, run.date_ns)
        run.made.requests += 1
        waiting = bytearray()
        try:
            async for piece in run.remote.demand.stream(layout.pack_name(stretch.pack), stretch.place):
                if piece is None:
                    raise RemoteObjectError("a pack is not there", why="its manifest is, so it was removed")
                waiting += piece
                run.made.bytes += len(piece)
                run.course.arrived_bytes += len(piece)
                if len(waiting) >= _FEED_BYTES:
                    self._count(run, await self._in_thread(reel.feed, bytes(waiting)))
                    waiting.clear()
            self._count(run, await self._in_thread(reel.feed, bytes(waiting)))
            run.remote.reads.succeeded()
            if reel.left():
                raise RemoteObjectError("a pack is cut short")
        except RemoteObjectError as error:
            log.warning("%s: %s", run.remote.place, error.line)
            is_gone = "not there" in error.what
            for manifest in reel.left():
                run.ended.add(manifest.entry.key)
                run.made.absent += is_gone
                run.made.refused += not is_gone
                self._arrivals.ended(manifest.entry.key, had=False)
                self._row(run, manifest, "absent" if is_gone else "refused")
        finally:
            reel.drop()

    def _count(self, run: _Run, landed: Sequence[tuple[EntryManifest, RemoteObjectError | None]]) -> None:
        for manifest, error in landed:
            key = manifest.entry.key
            run.ended.add(key)
            if error is None:
                run.made.arrived += 1
                run.made.keys.add(key)
            else:
                run.made.refused += 1
                log.warning("%s of %s is refused: %s", manifest.entry.crate_name, run.remote.place, error.line)
            self._arrivals.ended(key, had=error is None)
            self._row(run, manifest, "hit" if error is None else "refused")
        if run.progress is not None:
            run.progress(run.made, run.course)

    def _row(self, run: _Run, manifest: EntryManifest, outcome: str) -> None:
        requests, run.unnoted_requests = run.made.requests - run.unnoted_requests, run.made.requests
        self._note(
            Transfer(
                time.time_ns(),
                run.build,
                "get",
                outcome,
                manifest.entry.key,
                requests,
                manifest.wire_bytes,
                0,
                manifest.entry.compile_ms,
            )
        )


@dataclass(slots=True)
class _Run:
    """One fetch under way."""

    remote: Remote
    made: Fetched
    course: Course
    build: str
    progress: Callable[[Fetched, Course], None] | None
    date_ns: int | None
    ended: set[Digest] = field(default_factory=set)
    unnoted_requests: int = 0


def _give_up(remote: Remote, error: BaseException) -> None:
    line = error.line if isinstance(error, KacheError) else str(error)
    if remote.reads.open(line):
        log.warning("remote %s is left alone for a while, builds go on without it: %s", remote.place, line)
