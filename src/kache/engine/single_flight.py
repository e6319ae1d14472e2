"""Two simultaneous compiles of the same thing run rustc once; different edits never wait for each other.

The cache key of a miss is known only afterwards, so compiles in flight are found by weak key. The second caller waits
until the first one's rustc has written its dep-info, compares that closure with its own files, and goes on alone if it
differs, or once the wait exceeds what compiling by itself is expected to take.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc import depinfo
from kache.core.digest import Digest
from kache.core.entry import InputKind, InputMemo
from kache.engine.calls import Compile
from kache.engine.decisions import Missed
from kache.errors import StoreError

_POLL_S = 0.005
_UNKNOWN_COMPILE_S = 120.0
_MIN_WAIT_S = 1.0


@dataclass(slots=True)
class Flight:
    """One compile in flight.

    Attributes:
        compile: it.
        done: set when it is recorded, or will never be.
    """

    compile: Compile
    done: asyncio.Event = field(default_factory=asyncio.Event)
    started: float = field(default_factory=time.monotonic)


class SingleFlight:
    """Compiles in flight by weak key. Belongs to one event loop.

    Args:
        digests: the stat memo.
        memos: closures known under a weak key, the last used first.
        expected_s: how long a crate took to compile before, in seconds; None if that is not known.
    """

    def __init__(
        self,
        digests: FileDigests,
        memos: Callable[[Digest], list[InputMemo]],
        expected_s: Callable[[str, str], float | None],
    ) -> None:
        self._digests = digests
        self._memos = memos
        self._expected_s = expected_s
        self._flights: dict[bytes, list[Flight]] = {}

    def knows(self, missed: Missed) -> bool:
        """Whether something with this weak key is in flight."""
        return missed.weak_key in self._flights

    def begin(self, compile_: Compile) -> Flight:
        """Announce a compile."""
        flight = Flight(compile_)
        self._flights.setdefault(compile_.missed.weak_key, []).append(flight)
        return flight

    def end(self, flight: Flight) -> None:
        """It is recorded, or failed, or its launcher is gone."""
        flights = self._flights.get(flight.compile.missed.weak_key, [])
        if flight in flights:
            flights.remove(flight)
        if not flights:
            self._flights.pop(flight.compile.missed.weak_key, None)
        flight.done.set()

    async def join(self, missed: Missed) -> bool:
        """Wait for a compile of the very same thing.

        Returns:
            True if one ended: look again. False: compile.
        """
        for flight in list(self._flights.get(missed.weak_key, ())):
            if await self._same(flight, missed):
                return await self._wait(flight)
        return False

    async def _same(self, flight: Flight, missed: Missed) -> bool:
        """Wait for the leader's dep-info, which rustc writes before it analyses, and compare."""
        leader = flight.compile.missed
        if self._differs(leader, missed):
            return False
        call = leader.call
        path = call.out_dir + b"/" + call.crate_name.encode() + call.extra_filename + b".d"
        deadline = flight.started + self.limit_s(missed)
        while True:
            text = _written_since(path, flight.compile.started_ns)
            if text is not None:
                return self._compare(leader, missed, text)
            if flight.done.is_set():
                return True
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(_POLL_S)

    def _differs(self, leader: Missed, missed: Missed) -> bool:
        """Whether an edit shows at once: in the root source, or in what the last compile under this key read.

        Before it writes dep-info rustc expands macros, and that can take most of a compile.
        """
        ours, theirs = missed.around.roots, leader.around.roots
        names = [theirs.normalise(leader.call.source)]
        with contextlib.suppress(StoreError):
            for memo in self._memos(missed.weak_key)[:1]:
                names += [item.name for item in memo.inputs if item.kind == InputKind.FILE]
        return any(self._digest(ours.real(name)) != self._digest(theirs.real(name)) for name in names)

    def _digest(self, path: bytes) -> Digest | None:
        try:
            return self._digests.digest(path)
        except OSError:
            return None

    def _compare(self, leader: Missed, missed: Missed, text: bytes) -> bool:
        try:
            info = depinfo.parse(text)
        except depinfo.DepInfoError:
            return False  # half written; rare enough to compile twice
        ours, theirs = missed.around.roots, leader.around.roots
        for file in info.files:
            path = os.path.join(theirs.cwd, file)
            own = ours.real(theirs.normalise(path))
            if own == path:
                continue
            try:
                if self._digests.digest(own) != self._digests.digest(path):
                    return False
            except OSError:
                return False
        names = {name for name, _ in info.env}
        return all(
            ours.normalise_value(missed.around.env.get(name, b"\0unset"))
            == theirs.normalise_value(leader.around.env.get(name, b"\0unset"))
            for name in names
        )

    async def _wait(self, flight: Flight) -> bool:
        left_s = flight.started + self.limit_s(flight.compile.missed) - time.monotonic()
        try:
            await asyncio.wait_for(flight.done.wait(), max(left_s, _MIN_WAIT_S))
        except TimeoutError:
            return False
        return True

    def limit_s(self, missed: Missed) -> float:
        """Longest wait for somebody else's compile, seconds."""
        expected = self._expected_s(missed.shape.crate_name, missed.call.unit_kind)
        return _UNKNOWN_COMPILE_S if expected is None else max(2 * expected, _MIN_WAIT_S)


def _written_since(path: bytes, started_ns: int) -> bytes | None:
    try:
        if os.stat(path).st_mtime_ns < started_ns:
            return None  # of an earlier compile
        with open(path, "rb") as file:
            return file.read() or None
    except OSError:
        return None
