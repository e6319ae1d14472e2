"""A plan being carried out: a few entries at a time, in its order, until it is done, replaced or no longer needed."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from kache.core.digest import Digest
from kache.engine.transfer import bulk
from kache.engine.transfer.remotes import Remote
from kache.errors import KacheError, RemoteError, RemoteObjectError
from kache.planner.plan import PlannedUnit
from kache.remote import layout
from kache.store.local import LocalStore

log = logging.getLogger("kache")
BATCH = 24
"""Entries under way at one time: what the next answer of a planner can no longer change."""
MAX_FAILED = 3
"""A remote that failed so often is left alone."""


@dataclass(slots=True)
class PlanRun:
    """What became of a plan so far.

    Attributes:
        workspace: whose it is.
        had: what the store had before.
        planned: all units it ever named, by key.
        brought_ms: what was fetched, and how long each took.
        bytes: over the wire.
        absent, refused, failed, dropped: units the remote does not have; that cannot be trusted; that could not be
            fetched; that were no longer needed or beyond the budget.
        done: nothing more comes.
    """

    workspace: Digest
    had: frozenset[Digest] = frozenset()
    planned: dict[Digest, PlannedUnit] = field(default_factory=dict)
    brought_ms: dict[Digest, int] = field(default_factory=dict)
    bytes: int = 0
    absent: int = 0
    refused: int = 0
    failed: int = 0
    dropped: int = 0
    done: bool = False
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

    def to_json(self) -> dict[str, int]:
        """Plain values."""
        return {
            "planned": len(self.planned),
            "brought": len(self.brought_ms),
            "bytes": self.bytes,
            "absent": self.absent,
            "refused": self.refused,
            "failed": self.failed,
            "dropped": self.dropped,
        }


class Fetching:
    """Carries plans out. Belongs to one event loop.

    Args:
        store: where entries go.
        on_brought: told of each entry that came.
    """

    def __init__(self, store: LocalStore, on_brought: Callable[[Digest], None]) -> None:
        self._store = store
        self._on_brought = on_brought

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
                if run.failed >= MAX_FAILED or not remote.reads.is_closed or not await is_needed():
                    run.dropped += len(batch)
                    run.drop_rest()
                    return
                # What a compile has made or a call has fetched meanwhile is no longer needed.
                wanted = [unit for unit in batch if self._store.committed(unit.key) is None]
                run.dropped += len(batch) - len(wanted)
                await asyncio.gather(*(self._one(run, remote, unit, max_bytes) for unit in wanted))
        finally:
            run.done = True

    async def _one(self, run: PlanRun, remote: Remote, unit: PlannedUnit, max_bytes: int) -> None:
        started = time.perf_counter()
        try:
            manifest = await bulk._manifest(remote, layout.entry_subject(remote.domain, unit.key))
            if manifest is None:
                run.absent += 1
                return
            if run.bytes + manifest.pack_bytes > max_bytes:
                run.dropped += 1
                return
            run.bytes += manifest.pack_bytes  # at once: others are under way
            await bulk.land(remote, self._store, manifest)
        except RemoteObjectError as error:
            run.refused += 1
            log.warning("%s is not prefetched from %s: %s", unit.crate_name, remote.place, error.line)
        except (RemoteError, KacheError, OSError) as error:
            run.failed += 1
            log.info(
                "%s is not prefetched: %s", unit.crate_name, error.line if isinstance(error, KacheError) else error
            )
        else:
            run.brought_ms[unit.key] = int((time.perf_counter() - started) * 1000)
            self._on_brought(unit.key)
