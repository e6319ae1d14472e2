"""The few statistics the benchmark decides by: medians, and medians of paired ratios."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def median(values: Sequence[float]) -> float:
    """Return the median.

    Raises:
        ValueError: there are no values (a phase that measured nothing must not look like a fast one).
    """
    if not values:
        raise ValueError("median of no values")
    return float(statistics.median(values))


def paired_ratios(pairs: Sequence[tuple[float, float]]) -> list[float]:
    """Return `measured / base` of each (base, measured) pair.

    Both halves of a pair ran one after the other, so what slowed the machine down for a minute slowed both.
    """
    return [measured / base for base, measured in pairs if base > 0]


def pair_order(index: int, names: Sequence[str]) -> list[str]:
    """Return the order in which round `index` runs its arms.

    The order rotates and every second round is reversed, so that no arm always runs on the heels of the same one (a
    cold disk cache, write-back and CPU frequency favour a position, not a tool). With two arms it alternates.
    """
    if len(names) == 2:
        return list(names) if index % 2 == 0 else list(reversed(names))
    shift = (index // 2) % len(names)
    rotated = [*names[shift:], *names[:shift]]
    return rotated if index % 2 == 0 else list(reversed(rotated))


def summary(values: Sequence[float]) -> dict[str, object]:
    """Return count, median, smallest, largest and the values themselves, rounded to the microsecond."""
    return {
        "count": len(values),
        "median": round(median(values), 6),
        "min": round(min(values), 6),
        "max": round(max(values), 6),
        "values": [round(value, 6) for value in values],
    }
