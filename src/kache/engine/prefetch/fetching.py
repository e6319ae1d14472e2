"""A plan being carried out: a few entries at a time, in its order, until it is done, replaced or no longer needed."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from kache.core.digest import Digest
from kache.engine.prefetch.learning import Learning
from kache.engine.transfer.fetch import Budget, EntryFetch
from kache.engine.transfer.remotes import Remote
from kache.planner.plan import PlannedUnit
from kache.store.local import LocalStore

BATCH = 64
"""Entries under way at one time: what the next answer of a planner can no longer change."""
LONGEST_S = 600.0
WATCHED = 500


@dataclass(slots=True)
class PlanRun:
    """What became of a plan so far.

    Attributes:
        workspace: whose it is.
        build: the build that wants it; empty where somebody asked for it.
        had: what the store had before.
        planned: all units it ever named, by key.
        brought_ms: what was fetched, and how long each took.
        bytes: over the wire.
        absent, refused, dropped: units the remote does not have; that cannot be trusted; that were no longer needed,
            beyond the budget, or could not be had.
        done: nothing more comes.
        label, at_ns: of the workspace, and when it began.
        used: what its build used; None while that is not known.
    """

    workspace: Digest
    build: str = ""
    had: frozenset[Digest] = frozenset()
    planned: dict[Digest, PlannedUnit] = field(default_factory=dict)
    brought_ms: dict[Digest, int] = field(default_factory=dict)
    bytes: int = 0
    absent: int = 0
    refused: int = 0
    dropped: int = 0
    done: bool = False
    label: str = ""
    at_ns: int = 0
    used: frozenset[Digest] | None = None
    _queue: list[PlannedUnit] = field(default_factory=list)

    def replace(self, units: Sequence[PlannedUnit]) -> None:
        """Go on with another plan: what it does not name is not fetched any more."""
        wanted = {unit.key for unit in units}
        self.dropped += sum(unit.key not in wanted for unit in self._queue)
        started = {key for key in self.planned if key not in {unit.key for unit in self._queue}}
        self._queue = [unit for unit in units if unit.key not in self.had and unit.key not in started]
        self.planned |= {unit.key: unit for unit in units if unit.key not in self.had}

    def take(self) -> list[PlannedUnit]:
        """The next few."""
        batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
        return batch

    def drop_rest(self) -> None:
        """Nothing more is needed."""
        self.dropped += len(self._queue)
        self._queue.clear()

    def joined(self, other: PlanRun) -> PlanRun:
        """Both together, for one score."""
        return PlanRun(
            self.workspace,
            had=self.had & other.had,
            planned=self.planned | other.planned,
            brought_ms=self.brought_ms | other.brought_ms,
        )

    def to_watch(self) -> dict[str, Any]:
        """The plan, its first units with their states: `predicted`, `fetched`, `used`, `unused`, `late`, `failed`."""
        return {
            "at_ns": self.at_ns,
            "root": self.label,
            "units": [
                {
                    "crate_name": unit.crate_name,
                    "unit_kind": unit.unit_kind,
                    "bytes": unit.size_bytes,
                    "why": f"{unit.reason}, {unit.confidence:.0%}",
                    "state": self._state(unit.key),
                }
                for unit in islice(self.planned.values(), WATCHED)
            ],
        }

    def _state(self, key: Digest) -> str:
        if key in self.brought_ms:
            return "fetched" if self.used is None else "used" if key in self.used else "unused"
        if self.used is not None and key in self.used:
            return "late"
        return "failed" if self.done else "predicted"

    def to_json(self) -> dict[str, int]:
        """Plain values."""
        return {
            "planned": len(self.planned),
            "brought": len(self.brought_ms),
            "bytes": self.bytes,
            "absent": self.absent,
            "refused": self.refused,
            "dropped": self.dropped,
        }


class Fetching:
    """Carries plans out. Belongs to one event loop.

    Args:
        store: where entries go.
        fetch: brings them.
        learning: told which came.
    """

    def __init__(self, store: LocalStore, fetch: EntryFetch, learning: Learning) -> None:
        self._store = store
        self._fetch = fetch
        self._learning = learning

    async def run(self, run: PlanRun, remote: Remote, max_bytes: int, is_needed: Callable[[], Awaitable[bool]]) -> None:
        """Fetch what the plan names, and what it is replaced by meanwhile.

        Args:
            run: the plan.
            remote: from where.
            max_bytes: over the wire, whatever a planner says.
            is_needed: asked before each few entries.
        """
        try:
            while batch := run.take():
                if not remote.reads.is_closed or run.bytes >= max_bytes or not await is_needed():
                    run.dropped += len(batch)
                    run.drop_rest()
                    return
                # What a compile has made or a call has fetched meanwhile is no longer needed.
                wanted = [unit.key for unit in batch if self._store.committed(unit.key) is None]
                run.dropped += len(batch) - len(wanted)
                await self._bring(run, remote, wanted, max_bytes - run.bytes)
        finally:
            run.done = True

    async def _bring(self, run: PlanRun, remote: Remote, keys: list[Digest], room: int) -> None:
        started = time.perf_counter()
        self._learning.brought.update(keys)  # a call may be served before all of them are here
        found = await self._fetch.fetch_entries(remote, keys, Budget(LONGEST_S, room), build=run.build)
        came = found.keys.intersection(keys)
        took_ms = int((time.perf_counter() - started) * 1000) // max(len(came), 1)
        run.brought_ms |= dict.fromkeys(came, took_ms)
        run.bytes += found.bytes
        run.absent += found.absent
        run.refused += found.refused
        run.dropped += found.left
        self._learning.bring(keys, came)
