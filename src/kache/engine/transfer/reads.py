"""After a local miss: the remote's path sets, this call's key, the manifest, the pack; then the entry is ours.

A build waits here, so every wait has an end: a remote that stands still opens the breaker, which lets go everybody who
waits for it, and a fetch that would take longer than compiling did elsewhere is left.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import closure
from kache.core.digest import Digest
from kache.core.entry import Entry, InputMemo
from kache.engine.decisions import Missed
from kache.engine.record import cache_key
from kache.engine.transfer.arrivals import Arrivals
from kache.engine.transfer.fetch import EntryFetch
from kache.engine.transfer.landing import Landing, range_of
from kache.engine.transfer.remotes import Remote
from kache.errors import KacheError, RemoteError, RemoteObjectError, StoreError
from kache.remote import documents, exchange, layout
from kache.remote.documents import EntryManifest, PathSet
from kache.store.local import LocalStore
from kache.store.transfers import Transfer
from kache.util.lru import Lru

log = logging.getLogger("kache")
NEGATIVE_S = 60.0
_ABSENT_KEPT = 50_000
FAILURES_S = 1.0
"""What failures of a remote may cost one build in all."""
ABSENCE_S = 10.0
"""What a build waits for answers that there is nothing, summed over its calls and since its last hit."""
_BUILDS_KEPT = 64
InThread = Callable[..., Awaitable[Any]]


@dataclass(slots=True)
class Search:
    """One call's way through a remote.

    Attributes:
        remote: which.
        missed: the call.
        build: whose it is, for the record.
        outcome: see `Transfer.outcome`.
        key: of the entry, once it is known.
        compile_ms: what compiling it took elsewhere.
        seen: contents looked at, as for `closure.matches`.
    """

    remote: Remote
    missed: Missed
    build: str
    outcome: str = "absent"
    key: Digest | None = None
    compile_ms: int = 0
    received_bytes: int = 0
    requests: int = 0
    seen: dict[bytes, Digest | None] = field(default_factory=dict)


class RemoteReads:
    """Looks in remotes. Belongs to one event loop.

    Args:
        store: where what is found goes.
        digests: the stat memo.
        in_thread: runs blocking work beside the loop.
        warn: tells a build, by its id, what is wrong.
    """

    def __init__(
        self, store: LocalStore, digests: FileDigests, in_thread: InThread, warn: Callable[[str, str], None]
    ) -> None:
        self._store = store
        self._warn = warn
        self._warned: Lru[str, str] = Lru(_BUILDS_KEPT)
        self._digests = digests
        self._in_thread = in_thread
        self._absent: Lru[Digest, float] = Lru(_ABSENT_KEPT)
        self._fetching: dict[Digest, asyncio.Future[bool]] = {}
        self._waiting: dict[int, set[asyncio.Task[Any]]] = {}
        self._failures_s: Lru[str, float] = Lru(_BUILDS_KEPT)
        self._absence_s: Lru[str, float] = Lru(_BUILDS_KEPT)
        self.transfers: list[Transfer] = []
        self.places: dict[str, dict[Digest, bytes]] = {}
        self.arrivals = Arrivals()
        self.fetch = EntryFetch(store, in_thread, self.arrivals, self.transfers_add)

    def transfers_add(self, row: Transfer) -> None:
        """Note what went over the wire; the upload service writes it down."""
        self.transfers.append(row)

    def may_have(self, remote: Remote, build: str) -> bool:
        """Whether asking is worth a wait."""
        failures_s, absence_s = self._failures_s.get(build) or 0.0, self._absence_s.get(build) or 0.0
        # One that was as long as they can be leaves no room for another.
        room_s = max(FAILURES_S - remote.demand.patience.stall_s, 0.0)
        is_spent = failures_s > room_s or absence_s > ABSENCE_S
        if not remote.reads.is_closed:
            self.say(build, f"{remote.place} is left alone, this build goes on without it: {remote.reads.why}")
        return remote.reads.is_closed and bool(remote.trusted.keys) and not is_spent

    async def find(self, remote: Remote, missed: Missed, build: str) -> bool:
        """Look for an entry that fits a call, and store it.

        Returns:
            Whether it is in the store now.
        """
        search = Search(remote, missed, build)
        started = time.perf_counter()
        task = asyncio.ensure_future(self._search(search))
        waiting = self._waiting.setdefault(id(remote), set())
        waiting.add(task)
        try:
            await asyncio.wait({task})
            if task.cancelled():
                search.outcome = "failed"
                return False
            return task.result()
        except RemoteObjectError as error:
            search.outcome = "refused"
            log.warning("%s of %s: %s; %s", missed.call.crate_name, remote.place, error.what, error.why)
            self.say(build, f"{missed.call.crate_name} of {remote.place} is not used: {error.what}; {error.why}")
        except RemoteError as error:
            search.outcome = "failed"
            # Those who waited beside this one are let go at once: their time is the same.
            waited_s = time.perf_counter() - started
            self._failures_s.put(build, (self._failures_s.get(build) or 0.0) + waited_s)
            self.failed(remote, error, build)
        except (StoreError, OSError) as error:
            search.outcome = "failed"
            why = error.line if isinstance(error, KacheError) else str(error)
            log.warning("%s cannot be taken from %s: %s", missed.call.crate_name, remote.place, why)
        except Exception:
            search.outcome = "failed"
            log.exception("looking in %s failed", remote.place)
        finally:
            task.cancel()
            waiting.discard(task)
            self._note(search, started)
        return False

    def say(self, build: str, text: str) -> None:
        """One line a build, at the first trouble: the rest is in the log and the counters."""
        if self._warned.get(build) is None:
            self._warned.put(build, text)
            self._warn(build, text)

    def failed(self, remote: Remote, error: RemoteError, build: str) -> None:
        """Open the breaker and let go everybody who waits for this remote: one wait is all a build pays for."""
        self.say(build, f"{remote.place} is left alone, this build goes on without it: {error.line}")
        if remote.reads.open(error.line):
            log.warning("remote %s is left alone for a while, builds go on without it: %s", remote.place, error.line)
        for task in self._waiting.get(id(remote), ()):
            task.cancel()

    def _note(self, search: Search, started: float) -> None:
        waited_us = int((time.perf_counter() - started) * 1e6)
        waited_s = 0.0 if search.outcome == "hit" else (self._absence_s.get(search.build) or 0.0) + waited_us / 1e6
        self._absence_s.put(search.build, waited_s)
        self.transfers.append(
            Transfer(
                time.time_ns(),
                search.build,
                "get",
                search.outcome,
                search.key,
                search.requests,
                search.received_bytes,
                waited_us,
                search.compile_ms,
            )
        )

    async def _search(self, search: Search) -> bool:
        missed, remote = search.missed, search.remote
        source = os.path.join(missed.around.roots.cwd, missed.call.source)
        place = layout.locator(remote.domain, missed.weak_key, await self._in_thread(self._digests.digest, source))
        if self._is_absent(place):
            return False
        known = False
        for manifest in self.arrivals.under(missed.weak_key):  # it came with a set: no memo has to be asked for
            if await self._try(search, documents.path_set(manifest.inputs)):
                return True
        async for paths in exchange.path_sets(remote.demand, remote.trusted, place):
            known, search.requests = True, search.requests + 1
            if isinstance(paths, RemoteObjectError):
                search.outcome = "refused"
                log.warning("a memo of %s in %s: %s", missed.call.crate_name, remote.place, paths.line)
                self.say(
                    search.build, f"a memo of {missed.call.crate_name} in {remote.place} is not used: {paths.line}"
                )
            elif await self._try(search, paths):
                return True
        search.requests += 1
        remote.reads.succeeded()
        if not known:
            self._absent.put(place, time.monotonic() + NEGATIVE_S)
        return False

    def _is_absent(self, name: Digest) -> bool:
        until = self._absent.get(name)
        return until is not None and time.monotonic() < until

    async def _try(self, search: Search, paths: PathSet) -> bool:
        """Whether the entry these inputs lead to could be had."""
        missed, remote = search.missed, search.remote
        inputs = await self._in_thread(closure.today, paths.inputs, missed.around, self._digests, search.seen)
        if inputs is None:
            return False
        key = cache_key(missed.weak_key, inputs)
        coming_s = self.arrivals.expected_s(key)
        if coming_s is not None:
            return await self._await(search, key, coming_s)
        other = self._fetching.get(key)
        if other is not None:  # a second checkout asks for the same
            search.outcome, search.key = "hit", key
            return await asyncio.shield(other)
        subject = layout.entry_subject(remote.domain, key)
        if self._is_absent(subject):
            return False
        done = self._fetching[key] = asyncio.get_running_loop().create_future()
        had = False
        try:
            had = await self._take(search, subject, InputMemo(missed.weak_key, key, inputs))
        finally:
            del self._fetching[key]
            done.set_result(had)
        return had

    async def _await(self, search: Search, key: Digest, coming_s: float) -> bool:
        """Wait for an entry that comes in bulk, unless compiling it is expected to end before it arrives."""
        known = next((each for each in self.arrivals.under(search.missed.weak_key) if each.entry.key == key), None)
        search.key, search.compile_ms = key, known.entry.compile_ms if known is not None else 0
        limit_s = max(search.compile_ms / 1000, search.remote.wait_s)
        if coming_s <= limit_s and await self.arrivals.wait(key, limit_s):
            search.outcome = "hit"
            return True
        search.outcome = "slower"
        return self._store.entry(key) is not None

    async def _take(self, search: Search, subject: Digest, memo: InputMemo) -> bool:
        remote, started = search.remote, time.perf_counter()
        manifest = await exchange.manifest(remote.demand, remote.trusted, subject)
        search.requests += 1
        if manifest is None:
            self._absent.put(subject, time.monotonic() + NEGATIVE_S)
            return False
        remote.reads.succeeded()
        search.key, search.compile_ms = memo.key, manifest.entry.compile_ms
        demand_own(search.missed, manifest, memo)
        answered_s = time.perf_counter() - started
        remote.speed.answered(answered_s)
        limit_s = max(manifest.entry.compile_ms / 1000, remote.wait_s)
        # Who is expected to lose the race need not begin it.
        if answered_s + remote.speed.expected_s(manifest.wire_bytes) > limit_s:
            search.outcome = "slower"
            return False
        try:
            async with asyncio.timeout(limit_s - answered_s):
                await self._land(search, manifest, memo)
        except TimeoutError:
            search.outcome = "slower"
            return False
        search.outcome = "hit"
        self.places.setdefault(str(remote.place), {})[memo.key] = documents.whereabouts(manifest)
        return True

    async def _land(self, search: Search, manifest: EntryManifest, memo: InputMemo) -> None:
        entry = manifest.entry
        if await self._in_thread(self._commit_if_here, manifest, entry, memo):
            return
        landing = Landing(self._store, manifest, entry)
        try:
            search.requests += 1
            started = time.perf_counter()
            async for piece in search.remote.demand.stream(layout.pack_name(manifest.pack), range_of(manifest)):
                if piece is None:
                    raise RemoteObjectError("a pack is not there", why="its manifest is, so it was removed")
                search.received_bytes += len(piece)
                await self._in_thread(landing.feed, piece)
            search.remote.speed.sent(manifest.wire_bytes, time.perf_counter() - started)
            await self._in_thread(landing.commit, entry, memo)
        except BaseException:
            landing.drop()
            raise

    def _commit_if_here(self, manifest: EntryManifest, entry: Entry, memo: InputMemo) -> bool:
        """Another entry may have brought the same blobs."""
        if not all(self._store.has_blob(member.digest) for member in manifest.members):
            return False
        self._store.commit(entry, memo, [])
        return True


def demand_own(missed: Missed, manifest: EntryManifest, memo: InputMemo) -> None:
    """The entry must be the one we asked for, and its files this unit's: the directory holds everybody else's too.

    Raises:
        RemoteObjectError: they are not.
    """
    if (manifest.entry.key, manifest.entry.weak_key, manifest.inputs) != (memo.key, memo.weak_key, memo.inputs):
        raise RemoteObjectError(f"the entry of {missed.call.crate_name} is another one's")
    stem = missed.call.crate_name + missed.call.extra_filename.decode("utf-8", "surrogateescape")
    for artifact in manifest.entry.artifacts:
        if stem not in artifact.name:
            raise RemoteObjectError(f"the entry of {missed.call.crate_name} holds a file {artifact.name!r}")
