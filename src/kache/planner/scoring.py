"""How good plans were, and what that says for the next. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from kache.core.digest import Digest
from kache.core.usage import PlanScore, UnitUse
from kache.planner.plan import PlannedUnit

_PLACED = "seeded"
_PRIOR_BYTES = 50 << 20
"""A reason is trusted until so much was fetched for it in vain."""


def score(
    planned: Iterable[PlannedUnit],
    brought_ms: Mapping[Digest, int],
    used: Sequence[UnitUse],
    had: Collection[Digest] = (),
) -> PlanScore:
    """Score a plan once its build has ended.

    Args:
        planned: its units.
        brought_ms: what was fetched for it, and how long each took.
        used: units of the build.
        had: keys that were in the store before.
    """
    plan = {unit.key: unit for unit in planned}
    by_key = {use.key: use for use in used}
    # What warm start placed came with its set: no plan was needed for it.
    by_plan = {key: use for key, use in by_key.items() if use.outcome != _PLACED or key in brought_ms}
    needed = [use for key, use in by_plan.items() if key not in had]
    fetched = [plan[key] for key in brought_ms if key in plan]
    hits = [unit for unit in fetched if unit.key in by_key]
    late = [key for key in plan if key in by_plan and key not in brought_ms and key not in had]
    reasons: dict[str, list[int]] = {}
    for unit in fetched:
        counts = reasons.setdefault(unit.reason, [0, 0])
        counts[0] += unit.size_bytes
        counts[1] += unit.size_bytes if unit.key in by_key else 0
    return PlanScore(
        planned=len(plan),
        planned_bytes=sum(unit.size_bytes for unit in plan.values()),
        fetched=len(fetched),
        fetched_bytes=sum(unit.size_bytes for unit in fetched),
        used=len(hits),
        used_bytes=sum(unit.size_bytes for unit in hits),
        needed=len(needed),
        needed_bytes=sum(use.size_bytes for use in needed),
        late=len(late),
        saved_ms=sum(unit.compile_ms for unit in hits),
        wasted_ms=sum(took for key, took in brought_ms.items() if key not in by_key),
        by_reason=tuple((reason, *counts) for reason, counts in sorted(reasons.items())),  # type: ignore[misc]
    )


def worth(scores: Iterable[PlanScore]) -> dict[str, float]:
    """For each reason which part of the bytes fetched for it was used, 0 to 1; what was never tried is trusted."""
    fetched: dict[str, int] = {}
    used: dict[str, int] = {}
    for each in scores:
        for reason, brought, of_use in each.by_reason:
            fetched[reason] = fetched.get(reason, 0) + brought
            used[reason] = used.get(reason, 0) + of_use
    return {reason: (used[reason] + _PRIOR_BYTES) / (count + _PRIOR_BYTES) for reason, count in fetched.items()}
