"""How far a running build is, by an earlier one that called for the same units. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from kache.reports.build_report import Build, Report, Unit


class Estimate(NamedTuple):
    """Of one running build.

    Attributes:
        done, total: units; `total` is 0 where no earlier build is like it.
        left_s: how long it may still take; None where that is not known.
    """

    build: Build
    done: int
    total: int
    left_s: float | None


def estimates(report: Report, running: Iterable[str]) -> list[Estimate]:
    """Those of the builds that run, the newest first."""
    units: dict[str, list[Unit]] = {}
    for unit in report.units:
        units.setdefault(unit.build, []).append(unit)
    alive = frozenset(running)
    return [_estimate(build, report.builds, units, alive) for build in report.builds if build.id in alive]


def _estimate(build: Build, builds: Iterable[Build], units: dict[str, list[Unit]], alive: frozenset[str]) -> Estimate:
    """The newest ended build that asked for all units seen so far says what is to come.

    A cold build asks for its dependencies first, an edit for the crate that was edited: the first few units tell them
    apart. Times are those of then: a unit compiled then that is a hit now makes the estimate too long, and it shrinks.
    """
    seen = {_name(unit) for unit in units.get(build.id, ())}
    for other in builds:
        others = units.get(other.id, ())
        names = {_name(unit) for unit in others}
        if other.id in alive or other.started_ns > build.started_ns or not seen or not seen <= names:
            continue
        weights = {_name(unit): max(unit.duration_ms, 1.0) for unit in others}
        left = sum(weight for name, weight in weights.items() if name not in seen) / sum(weights.values())
        return Estimate(build, len(seen), len(names), other.wall_ms / 1000 * left)
    return Estimate(build, len(seen), 0, None)


def _name(unit: Unit) -> tuple[str, str]:
    return unit.crate_name, unit.unit_kind
