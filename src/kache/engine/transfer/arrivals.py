"""Entries on their way here in bulk: who needs one waits for it, unless compiling is expected to be quicker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from kache.core.digest import Digest
from kache.remote.documents import EntryManifest
from kache.util.lru import Lru

_MANIFESTS_WEIGHT = 200_000
"""Inputs held, of manifests that came with a set."""
_BROUGHT_KEPT = 50_000


class Arrivals:
    """What bulk fetches are about to bring, and what they brought. Belongs to one event loop."""

    def __init__(self) -> None:
        self._coming: dict[Digest, _Coming] = {}
        self._known: Lru[Digest, list[EntryManifest]] = Lru(_MANIFESTS_WEIGHT)
        self._brought: Lru[Digest, bool] = Lru(_BROUGHT_KEPT)

    def learn(self, manifests: Iterable[EntryManifest]) -> None:
        """Keep verified manifests: a call of the same weak key need not ask for a memo."""
        by_weak: dict[Digest, list[EntryManifest]] = {}
        for manifest in manifests:
            by_weak.setdefault(manifest.entry.weak_key, []).append(manifest)
        for weak_key, found in by_weak.items():
            keys = {manifest.entry.key for manifest in found}
            found += [each for each in self._known.get(weak_key) or () if each.entry.key not in keys]
            self._known.put(weak_key, found[:8], sum(len(each.inputs) for each in found[:8]))

    def under(self, weak_key: Digest) -> list[EntryManifest]:
        """The manifests known of a weak key."""
        return list(self._known.get(weak_key) or ())

    def begin(self, manifests: Iterable[EntryManifest]) -> Course:
        """A fetch is about to bring these, in this order."""
        course = Course()
        for manifest in manifests:
            course.expected_bytes += manifest.wire_bytes
            key = manifest.entry.key
            if key not in self._coming:
                end = asyncio.get_running_loop().create_future()
                self._coming[key] = _Coming(course, course.expected_bytes, end)
        return course

    def ended(self, key: Digest, *, had: bool) -> None:
        """An entry is in the store, or will not come."""
        coming = self._coming.pop(key, None)
        if had:
            self._brought.put(key, True)  # noqa: FBT003
        if coming is not None and not coming.end.done():
            coming.end.set_result(had)

    def expected_s(self, key: Digest) -> float | None:
        """In how many seconds an entry is expected; None if it is not coming."""
        coming = self._coming.get(key)
        return None if coming is None else coming.course.expected_s(coming.end_byte)

    async def wait(self, key: Digest, limit_s: float) -> bool:
        """Wait for an entry that is coming; whether it came."""
        coming = self._coming.get(key)
        if coming is None:
            return False
        done, _ = await asyncio.wait({coming.end}, timeout=limit_s)
        return bool(done) and coming.end.result()

    def take(self, key: Digest) -> bool:
        """Whether a bulk fetch brought an entry; said once, for the first hit of it."""
        if not self._brought.get(key):
            return False
        self._brought.drop(key)
        return True


class Course:
    """How a bulk fetch comes on.

    Attributes:
        expected_bytes: to come, of all.
        arrived_bytes: those that did.
    """

    def __init__(self) -> None:
        self.expected_bytes = 0
        self.arrived_bytes = 0
        self._started = time.monotonic()

    def expected_s(self, end_byte: int) -> float:
        """In how many seconds the fetch is expected to reach a byte, at the rate it has had so far."""
        elapsed_s = time.monotonic() - self._started
        left = max(end_byte - self.arrived_bytes, 0)
        return left * elapsed_s / self.arrived_bytes if self.arrived_bytes else 0.0

    def elapsed_s(self) -> float:
        """Since it began."""
        return time.monotonic() - self._started

    def left_s(self) -> float:
        """The same of all of it."""
        return self.expected_s(self.expected_bytes)


class _Coming:
    __slots__ = ("course", "end", "end_byte")

    def __init__(self, course: Course, end_byte: int, end: asyncio.Future[bool]) -> None:
        self.course = course
        self.end_byte = end_byte
        self.end = end
