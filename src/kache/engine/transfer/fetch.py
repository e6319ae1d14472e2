"""Many entries at once, for builds: out of few packs, in parallel, in the order in which they will be needed.

Whoever knows which entries a build will want calls `fetch_entries` (their keys are known) or `fetch` (their manifests
are). What arrives is a local hit from then on, counted as `prefetch_hit` the first time.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kache.core.digest import Digest
from kache.core.entry import InputMemo
from kache.engine.transfer.arrivals import Arrivals, Course
from kache.engine.transfer.landing import Landing, demand_keys
from kache.engine.transfer.remotes import Remote
from kache.errors import KacheError, RemoteError, RemoteObjectError, StoreError
from kache.remote import exchange, layout
from kache.remote.backend import Range
from kache.remote.documents import EntryManifest
from kache.store.local import LocalStore
from kache.store.transfers import Transfer

log = logging.getLogger("kache")
STREAMS = 6
"""Requests for packs at one time: enough to fill a line in spite of its delay, few enough to come in order."""
STRETCH_BYTES = 8 << 20
"""Read by one request: packs are longer, so that one pack alone comes in parallel as well."""
_GAP_BYTES = 128 << 10
"""What is not wanted between two parts costs less to read than another request."""
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
                try:
                    found = await exchange.manifest(
                        remote.demand, remote.trusted, layout.entry_subject(remote.domain, key)
                    )
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
    ) -> Fetched:
        """Bring entries whose manifests were verified; the other arguments are `fetch_entries`'.

        Args:
            remote: from where.
            manifests: the one needed first comes first.
            budget: of all of it.
            build: whose it is.
            progress: told whenever some bytes have come.
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
        run = _Run(remote, made, course, build, progress)

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
            for manifest in wanted:
                key = manifest.entry.key
                made.left += key not in run.ended
                self._arrivals.ended(key, had=key in made.keys)
        return made

    def _missing(self, manifests: Iterable[EntryManifest], made: Fetched) -> list[EntryManifest]:
        """Those whose blobs have to come; the others are committed if they are not here."""
        wanted = []
        for manifest in manifests:
            entry = manifest.entry
            if self._store.entry(entry.key) is not None:
                made.here += 1
                made.keys.add(entry.key)
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
        reel = Reel(self._store, stretch)
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
    ended: set[Digest] = field(default_factory=set)
    unnoted_requests: int = 0


@dataclass(frozen=True, slots=True)
class Stretch:
    """What one request reads of a pack.

    Attributes:
        pack: which.
        place: of it; None for all.
        manifests: whose parts are in it, in its order.
    """

    pack: Digest
    place: Range | None
    manifests: tuple[EntryManifest, ...]


def stretches(manifests: Iterable[EntryManifest]) -> list[Stretch]:
    """Cut what is wanted into requests: packs in the order in which they are needed, each from its start on. Pure."""
    by_pack: dict[Digest, list[EntryManifest]] = {}
    for manifest in manifests:
        by_pack.setdefault(manifest.pack, []).append(manifest)
    found: list[Stretch] = []
    for pack, wanted in by_pack.items():
        whole = [manifest for manifest in wanted if manifest.part is None]
        found += [Stretch(pack, None, (manifest,)) for manifest in whole]
        parts = [(manifest.part, manifest) for manifest in wanted if manifest.part is not None]
        parts.sort(key=lambda each: each[0].offset)
        held: list[EntryManifest] = []
        start = end = 0
        for part, manifest in parts:
            if held and (part.offset - end > _GAP_BYTES or part.offset + part.size - start > STRETCH_BYTES):
                found.append(Stretch(pack, Range(start, end - start), tuple(held)))
                held = []
            if not held:
                start = part.offset
            held.append(manifest)
            end = max(end, part.offset + part.size) if len(held) > 1 else part.offset + part.size
        if held:
            found.append(Stretch(pack, Range(start, end - start), tuple(held)))
    return found


class Reel:
    """Takes the bytes of a stretch, and gives each entry its own. Its methods block; one thread at a time.

    Args:
        store: where entries go.
        stretch: what comes.
    """

    def __init__(self, store: LocalStore, stretch: Stretch) -> None:
        self._store = store
        self._waiting = list(reversed(stretch.manifests))
        self._at = 0 if stretch.place is None else stretch.place.start
        self._landing: Landing | None = None
        self._broken: RemoteObjectError | None = None
        self._left = 0
        self._lock = threading.Lock()

    def left(self) -> list[EntryManifest]:
        """Those that have not come whole."""
        return list(self._waiting)

    def feed(self, data: bytes) -> list[tuple[EntryManifest, RemoteObjectError | None]]:
        """Take the next bytes.

        Returns:
            The entries that are complete now: stored, or what is wrong with them.

        Raises:
            StoreError: the disk is full, for example.
        """
        with self._lock:
            return self._feed(memoryview(data))

    def _feed(self, view: memoryview) -> list[tuple[EntryManifest, RemoteObjectError | None]]:
        done: list[tuple[EntryManifest, RemoteObjectError | None]] = []
        while view and self._waiting:
            manifest = self._waiting[-1]
            if self._landing is None:
                skipped = 0 if manifest.part is None else manifest.part.offset - self._at
                if skipped < 0:  # two manifests that claim the same bytes
                    done.append((self._waiting.pop(), RemoteObjectError("a manifest's part overlaps another's")))
                    continue
                if skipped >= len(view):
                    self._at += len(view)
                    break
                view, self._at = view[skipped:], self._at + skipped
                self._landing, self._left = Landing(self._store, manifest, manifest.entry), manifest.wire_bytes
                self._broken = None
            piece, view = view[: self._left], view[self._left :]
            self._at += len(piece)
            self._left -= len(piece)
            self._take(bytes(piece))
            if not self._left:
                done.append((self._waiting.pop(), self._end(manifest)))
        return done

    def _take(self, piece: bytes) -> None:
        assert self._landing is not None
        if self._broken is None:
            try:
                self._landing.feed(piece)
            except RemoteObjectError as error:
                self._broken = error

    def _end(self, manifest: EntryManifest) -> RemoteObjectError | None:
        landing, self._landing = self._landing, None
        assert landing is not None
        entry = manifest.entry
        try:
            if self._broken is None:
                landing.commit(entry, InputMemo(entry.weak_key, entry.key, manifest.inputs))
        except RemoteObjectError as error:
            self._broken = error
        finally:
            landing.drop()
        return self._broken

    def drop(self) -> None:
        """Forget what has not come whole, and take nothing more; waits for the bytes that are just being taken."""
        with self._lock:
            self._waiting.clear()
            if self._landing is not None:
                self._landing.drop()
                self._landing = None


def _give_up(remote: Remote, error: BaseException) -> None:
    line = error.line if isinstance(error, KacheError) else str(error)
    if remote.reads.open(line):
        log.warning("remote %s is left alone for a while, builds go on without it: %s", remote.place, line)
