"""From what a build is about to do, and what is known of builds that were, to what should be fetched first. Pure.

A unit of the past is wanted if it can still be what it was: its package stands unchanged in today's lockfile, or its
sources have the digest of then, and the same holds for everything it was compiled against. What cannot be is left out,
so a changed dependency takes itself and what lies above it out of the plan, and nothing else. What remains is ranked by
the records it comes from: those of the same lockfile, of other lockfiles of this workspace, of other workspaces; the
same job and branch count more, older ones less, and what plans of this workspace were worth counts as well.

Whatever comes out is advice: a wrong plan wastes bytes, within its budget, and nothing else.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from kache.core.digest import Digest
from kache.core.usage import HOST_KINDS, Intent
from kache.planner.closure import Changes, host_units, state_of_all
from kache.planner.knowledge import Knowledge, KnownRecord, KnownUnit

MIN_CONFIDENCE = 0.2
_DECAY = 0.85
"""Weight of a record against that of the next newer one of its kind."""
_SAME_JOB = 2.0
_SAME_BRANCH = 1.5
_SAME_NAME = 4.0
_OTHER_FEATURES = 0.4
_OTHER_COMMAND = 0.7
_UNCERTAIN = 0.6
"""Confidence in a unit of which nobody can say whether it is unchanged."""
_NEED_STEP_MS = 250
"""Needs so close together are served by what they save."""


class PlanReason(enum.StrEnum):
    """Why a unit is in a plan: the best of the records it comes from."""

    EXACT = "exact"
    """Its whole closure is unchanged, and a build of this kind used it."""
    SAME_LOCKFILE = "same-lockfile"
    RECENT_LOCKFILE = "recent-lockfile"
    SHARED = "shared"
    """A build of another workspace used it."""


_RANKS = tuple(PlanReason)


class PlannedUnit(msgspec.Struct, frozen=True):
    """One unit to fetch.

    Attributes:
        key: cache key of its entry.
        crate_name, unit_kind, unit_hash: for people, and to see whether a target has it.
        size_bytes: of its outputs.
        compile_ms: what compiling it took.
        need_ms: when builds asked for it.
        reason: see `PlanReason`.
        confidence: how likely the build asks for exactly this, 0 to 1.
        is_member: it is made of the workspace's own sources.
    """

    key: Digest
    crate_name: str
    unit_kind: str
    unit_hash: bytes
    size_bytes: int
    compile_ms: int
    need_ms: int
    reason: str
    confidence: float
    is_member: bool = False


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What a plan is asked for.

    Attributes:
        intent: what the build is about to do; of an empty command any kind is planned for.
        changes: what stands in today's lockfile, and today's sources.
        name: builds of this name are preferred.
    """

    intent: Intent
    changes: Changes = field(default_factory=Changes)
    name: str = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a plan may cost at most.

    Attributes:
        size_bytes: of the outputs of its units.
        keys: units.
        seconds: of fetching, by the tariff.
    """

    size_bytes: int = 4 << 30
    keys: int = 20_000
    seconds: float = 600.0


@dataclass(frozen=True, slots=True)
class Tariff:
    """What fetching costs.

    Attributes:
        request_s: wait for one answer.
        at_once: requests at one time.
        bytes_per_s: over the wire.
        packed: size of a pack by the size of what is in it.
    """

    request_s: float = 0.05
    at_once: int = 16
    bytes_per_s: float = 50e6
    packed: float = 0.35

    def fetch_s(self, size_bytes: int) -> float:
        """Share of one unit in the time of a fetch: two answers (manifest, pack), and its bytes."""
        return 2 * self.request_s / max(self.at_once, 1) + size_bytes * self.packed / max(self.bytes_per_s, 1.0)


@dataclass(frozen=True, slots=True)
class PrefetchPlan:
    """What to fetch, in this order.

    Attributes:
        units: the units.
        left_out: how many known units were not wanted, by cause: `changed`, `unlikely`, `dearer`, `budget`.
    """

    units: tuple[PlannedUnit, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of all outputs."""
        return sum(unit.size_bytes for unit in self.units)

    @property
    def saved_ms(self) -> int:
        """Compile time of what is planned."""
        return sum(unit.compile_ms for unit in self.units)


@dataclass(frozen=True, slots=True)
class _Weight:
    """What a record counts: its likeness alone, and with its age, and whose it is."""

    likeness: float
    value: float
    reason: PlanReason
    hosts_only: bool
    is_like: bool


def plan(
    request: PlanRequest,
    knowledge: Knowledge,
    budget: Budget | None = None,
    tariff: Tariff | None = None,
    worth: Mapping[str, float] | None = None,
) -> PrefetchPlan:
    """Make a plan.

    Args:
        request: what is about to be built.
        knowledge: builds of this workspace and of others.
        budget: what it may cost at most.
        tariff: what fetching costs.
        worth: how much of what was fetched for each reason was used here, 0 to 1 (`scoring.worth`).

    Returns:
        The units, in order of first need and of seconds saved per byte. O(units + edges of the records).
    """
    budget, tariff = budget or Budget(), tariff or Tariff()
    left_out = {"changed": 0, "unlikely": 0, "dearer": 0, "budget": 0}
    weights = _weights(request, knowledge)
    chances = _Chances(weights, knowledge, request)
    found: list[tuple[PlannedUnit, float]] = []
    for unit, reason, likely in chances.of_all(left_out):
        confidence = likely * min(max((worth or {}).get(reason, 1.0), 0.0), 1.0)
        if confidence < MIN_CONFIDENCE:
            left_out["unlikely"] += 1
            continue
        fetch_s, use = tariff.fetch_s(unit.use.size_bytes), unit.use
        if fetch_s >= confidence * use.compile_ms / 1000:
            left_out["dearer"] += 1
            continue
        planned = PlannedUnit(
            use.key,
            use.crate_name,
            use.unit_kind,
            use.unit_hash,
            use.size_bytes,
            use.compile_ms,
            use.need_ms,
            reason,
            round(confidence, 3),
            bool(use.source),
        )
        found.append((planned, (confidence * use.compile_ms / 1000 - fetch_s) / max(use.size_bytes, 1)))
    chosen = _within(budget, tariff, found)
    left_out["budget"] = len(found) - len(chosen)
    chosen.sort(key=lambda each: (each[0].need_ms // _NEED_STEP_MS, -each[1], each[0].key))
    return PrefetchPlan(tuple(unit for unit, _ in chosen), {cause: count for cause, count in left_out.items() if count})


def _within(budget: Budget, tariff: Tariff, found: list[tuple[PlannedUnit, float]]) -> list[tuple[PlannedUnit, float]]:
    """Those that save most per byte, as far as the budget goes; what is too big for the rest of it is passed over."""
    left_bytes, left_s = budget.size_bytes, budget.seconds
    chosen: list[tuple[PlannedUnit, float]] = []
    for each in sorted(found, key=lambda each: (-each[1], each[0].key)):
        fetch_s = tariff.fetch_s(each[0].size_bytes)
        if len(chosen) >= budget.keys:
            break
        if each[0].size_bytes <= left_bytes and fetch_s <= left_s:
            chosen.append(each)
            left_bytes -= each[0].size_bytes
            left_s -= fetch_s
    return chosen


def _weights(request: PlanRequest, knowledge: Knowledge) -> dict[int, _Weight]:
    """By bit, of the records that say something about this build."""
    found: dict[int, _Weight] = {}
    ages: dict[tuple[bool, bool], int] = {}
    for record in sorted(knowledge.records.values(), key=lambda record: -record.number):
        made = _likeness(request, record)
        if made is None:
            continue
        kind = made.is_like, record.is_whole
        ages[kind] = ages.get(kind, -1) + 1
        value = made.value * _DECAY ** ages[kind]
        found[record.bit] = _Weight(made.likeness, value, made.reason, made.hosts_only, made.is_like)
    return found


def _likeness(request: PlanRequest, record: KnownRecord) -> _Weight | None:
    wanted, was = request.intent, record.intent
    if wanted.toolchain and was.toolchain != wanted.toolchain:
        return None
    is_own = was.workspace == wanted.workspace
    if wanted.command and was.profile != wanted.profile:
        return None
    # What is compiled for the host alone is the same whatever the rest is compiled for.
    checks = "check" in (was.command, wanted.command) and was.command != wanted.command
    hosts_only = bool(wanted.command) and (was.target != wanted.target or checks)
    likeness = 1.0 if is_own else _UNCERTAIN
    if is_own and wanted.command and was.features != wanted.features:
        likeness *= _OTHER_FEATURES
    same_command = (was.command, was.takes_all) == (wanted.command, wanted.takes_all)
    if wanted.command and not same_command:
        likeness *= _OTHER_COMMAND
    value = likeness
    value *= _SAME_JOB if was.job == wanted.job else 1.0
    value *= _SAME_BRANCH if was.branch and was.branch == wanted.branch else 1.0
    value *= _SAME_NAME if request.name and record.name == request.name else 1.0
    if not is_own:
        reason = PlanReason.SHARED
    elif was.lockfile == wanted.lockfile:
        reason = PlanReason.SAME_LOCKFILE
    else:
        reason = PlanReason.RECENT_LOCKFILE
    is_like = is_own and not hosts_only and likeness == 1.0
    return _Weight(likeness, value, reason, hosts_only, is_like)


class _Chances:
    """How likely each known unit is asked for."""

    def __init__(self, weights: dict[int, _Weight], knowledge: Knowledge, request: PlanRequest) -> None:
        self._weights = weights
        self._knowledge = knowledge
        self._intent = request.intent
        self._states = state_of_all(knowledge, request.changes)
        self._sums: dict[int, float] = {}
        self._best: dict[int, tuple[float, PlanReason]] = {}
        self._all = _mask(weights)
        self._targets_only = _mask(bit for bit, weight in weights.items() if not weight.hosts_only)
        # Builds of the same kind, in empty targets: what none of them has this one will not want.
        self._like = _mask(bit for bit, weight in weights.items() if weight.is_like and knowledge.records[bit].is_whole)
        self._hosts = host_units(knowledge.units) if self._targets_only != self._all else set()

    def of_all(self, left_out: dict[str, int]) -> list[tuple[KnownUnit, PlanReason, float]]:
        """(unit, reason, confidence) of those that can be what they were."""
        candidates: list[tuple[KnownUnit, int]] = []
        of_slot: dict[tuple[str, str, bytes], int] = {}
        of_crate: dict[tuple[str, str], int] = {}
        for key, unit in self._knowledge.units.items():
            mask = unit.mask & (self._all if key in self._hosts else self._targets_only)
            crate = unit.slot[:2]
            of_crate[crate] = of_crate.get(crate, 0) | mask
            if not mask or not self._is_of_command(unit):
                continue
            if self._states[key] is False:
                left_out["changed"] += 1
                continue
            candidates.append((unit, mask))
            of_slot[unit.slot] = of_slot.get(unit.slot, 0) | mask
        return [self._rated(unit, mask, of_slot[unit.slot], of_crate[unit.slot[:2]]) for unit, mask in candidates]

    def _rated(self, unit: KnownUnit, mask: int, slot: int, crate: int) -> tuple[KnownUnit, PlanReason, float]:
        likeness, reason = self._best_of(mask)
        confidence = self._sum(mask) / self._sum(slot) * likeness
        if self._like and mask & self._like:
            confidence *= self._sum(crate & self._like) / self._sum(self._like)
        if self._states[unit.use.key] is None:
            confidence *= _UNCERTAIN
        elif reason is not PlanReason.SHARED:
            reason = PlanReason.EXACT
        return unit, reason, min(confidence, 1.0)

    def _is_of_command(self, unit: KnownUnit) -> bool:
        """What only tests want, nobody else does."""
        kind = unit.use.unit_kind
        if self._intent.command in ("", "test") or self._intent.takes_all:
            return True
        return not kind.startswith("test") or kind.startswith(HOST_KINDS)

    def _best_of(self, mask: int) -> tuple[float, PlanReason]:
        """Likeness and reason of the best record; many units share one mask."""
        found = self._best.get(mask)
        if found is None:
            weights = [self._weights[bit] for bit in _bits(mask)]
            reason = min((weight.reason for weight in weights), key=_RANKS.index)
            found = self._best[mask] = max(weight.likeness for weight in weights), reason
        return found

    def _sum(self, mask: int) -> float:
        """Summed weights; many units share one mask."""
        found = self._sums.get(mask)
        if found is None:
            found = self._sums[mask] = sum(self._weights[bit].value for bit in _bits(mask))
        return found


def _mask(bits: Iterable[int]) -> int:
    found = 0
    for bit in bits:
        found |= 1 << bit
    return found


def _bits(mask: int) -> list[int]:
    found = []
    while mask:
        low = mask & -mask
        found.append(low.bit_length() - 1)
        mask ^= low
    return found
