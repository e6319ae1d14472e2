"""A plan for a build that is about to start here: today's sources, what this machine knows, what others tell."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as replaced
from typing import Any

from msgspec.structs import replace

from kache.cargo import lock_packages, source_groups
from kache.cargo.feature_deps import reachable
from kache.cargo.lock_packages import LockPackages
from kache.cargo.workspace import Workspace
from kache.core.digest import Digest
from kache.core.usage import BuildRecord, Intent
from kache.engine.transfer.remotes import Remote
from kache.planner import scoring
from kache.planner.closure import Changes
from kache.planner.knowledge import Knowledge
from kache.planner.plan import Budget, PlannedUnit, PlanRequest, PrefetchPlan, Tariff, plan
from kache.store.local import LocalStore

log = logging.getLogger("kache")
OTHERS = 6
"""Builds of other workspaces that are looked at."""
SCORES = 20
MOST_ANSWER_S, LEAST_BYTES_PER_S = 1.0, 1e6
"""What a remote is taken for at worst: one slow minute must not end all plans, and with them what shows it is well."""


@dataclass(slots=True)
class Planning:
    """One build's plans. Its methods block, and belong into a worker thread.

    Attributes:
        store: what this machine knows.
        place: the workspace.
        intent: of the build; its lockfile is read here.
        name: builds of this name are preferred.
    """

    store: LocalStore
    place: Workspace
    intent: Intent
    name: str = ""
    _request: PlanRequest | None = None
    _own: Sequence[BuildRecord] = ()
    _others: Sequence[BuildRecord] = ()

    def request(self) -> PlanRequest:
        """What is asked of a planner; reads the workspace once."""
        if self._request is None:
            lock = lock_packages.read(self.place.root)
            packages = self._packages(lock) if lock.digest else None
            groups = source_groups.digests(self.place.root, self.place.target_dir)
            intent = replace(self.intent, lockfile=lock.digest)
            self._request = PlanRequest(intent, Changes(packages, groups or None), self.name)
            workspace = self.intent.workspace
            self._own = self.store.records.of_workspace(workspace)
            self._others = self.store.records.of_others(workspace, OTHERS)
        return self._request

    def _packages(self, lock: LockPackages) -> frozenset[bytes]:
        """Ids of what stands in the lock file and the features of this build can want."""
        intent = self.intent
        dev = intent.command in ("", "test") or intent.takes_all
        wanted = None
        if intent.command:  # whoever plans for any command plans for any features
            try:
                wanted = reachable(self.place.root, lock.needs, lock.members, intent.features, dev=dev)
            except (AttributeError, TypeError):
                log.info("features of %s are not understood", intent.label)
        return frozenset(each for package, each in lock.ids.items() if wanted is None or package in wanted)

    def plan(self, remote: Remote, max_bytes: int, more: Iterable[BuildRecord] = ()) -> PrefetchPlan:
        """A plan by this machine's own records and some more, the newest of those first."""
        request = self.request()
        known = {record.id: record for record in self._own}
        own = sorted((*known.values(), *(r for r in more if r.id not in known)), key=lambda record: record.at_s)
        knowledge = Knowledge([*reversed(self._others), *own])
        tariff = tariff_of(remote)
        worth = scoring.worth(self.store.records.scores(self.intent.workspace, SCORES))
        return plan(request, knowledge, Budget(size_bytes=int(max_bytes / tariff.packed)), tariff, worth)

    def in_target(self) -> frozenset[bytes]:
        """Hashes of the units that cargo has built in this target directory."""
        found = set()
        for directory in _fingerprint_dirs(self.place.target_dir):
            word = directory.rpartition(b"-")[2]
            if len(word) == 16 and not word.strip(b"0123456789abcdef") and _is_built(directory):
                found.add(bytes.fromhex(word.decode()))
        return frozenset(found)

    def explained(self, made: PrefetchPlan) -> dict[str, Any]:
        """What of a plan would be fetched, in plain values."""
        wanted = without(made.units, self.in_target())
        had = set(self.store.entry_keys())
        units = [unit for unit in wanted if unit.key not in had]
        return {
            "units": [
                {
                    "key": unit.key.hex(),
                    "crate_name": unit.crate_name,
                    "unit_kind": unit.unit_kind,
                    "size_bytes": unit.size_bytes,
                    "compile_ms": unit.compile_ms,
                    "reason": unit.reason,
                    "confidence": unit.confidence,
                }
                for unit in units
            ],
            "left_out": dict(made.left_out),
            "size_bytes": sum(unit.size_bytes for unit in units),
            "saved_ms": sum(unit.compile_ms for unit in units),
        }


def tariff_of(remote: Remote) -> Tariff:
    """What fetching costs by what this remote has shown; of a stranger what most would take."""
    usual, speed = Tariff(at_once=remote.concurrency), remote.speed
    answer_s = usual.request_s if speed.usual_answer_s is None else min(speed.usual_answer_s, MOST_ANSWER_S)
    rate = usual.bytes_per_s if speed.bulk_bytes_per_s is None else max(speed.bulk_bytes_per_s, LEAST_BYTES_PER_S)
    if remote.download_rate:
        rate = min(rate, float(remote.download_rate))
    return replaced(usual, request_s=answer_s, bytes_per_s=rate)


def without(units: Iterable[PlannedUnit], in_target: frozenset[bytes]) -> list[PlannedUnit]:
    """Those that cargo will ask for: what it has built here it finds fresh, unless it is a member's."""
    return [unit for unit in units if unit.is_member or unit.unit_hash not in in_target]


def merged(local: PrefetchPlan, answer: Sequence[PlannedUnit]) -> list[PlannedUnit]:
    """A planner's answer first; of the local plan what is sure and was not named."""
    named: set[Digest] = {unit.key for unit in answer}
    return [*answer, *(unit for unit in local.units if unit.key not in named and unit.reason == "exact")]


def _fingerprint_dirs(target_dir: bytes) -> Iterable[bytes]:
    """One a unit: `<target>/<profile>/.fingerprint/<package>-<hash>`, or below a target triple."""
    for top in _directories(target_dir):
        yield from _directories(os.path.join(top, b".fingerprint"))
        for inner in _directories(top):
            yield from _directories(os.path.join(inner, b".fingerprint"))


def _is_built(directory: bytes) -> bool:
    """Whether the fingerprint itself is there; the directory and its `invoked.timestamp` come first."""
    try:
        return any(b"." not in name and not name.startswith(b"dep-") for name in os.listdir(directory))
    except OSError:
        return False


def _directories(path: bytes) -> list[bytes]:
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in entries if entry.is_dir()]
    except OSError:
        return []
