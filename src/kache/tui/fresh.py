"""Calls that the daemon told of and that are not in the index yet, put into a report. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kache.reports.build_report import QUESTIONS, Build, Report, Unit
from kache.reports.stats import FAILED, HITS, NO_CALLS

Told = Mapping[str, Any]


def unseen(report: Report, events: Sequence[Told]) -> list[Told]:
    """Those of the events that are calls of rustc and that the report does not have."""
    known = {(unit.at_ns, unit.crate_name, unit.unit_kind, unit.outcome) for unit in report.units}
    return [
        each
        for each in events
        if each["outcome"] not in NO_CALLS
        and each["reason"] not in QUESTIONS
        and (each["at_ns"], each["crate_name"], each["unit_kind"], each["outcome"]) not in known
    ]


def with_events(report: Report, events: Sequence[Told]) -> Report:
    """The report with them counted."""
    if not events:
        return report
    builds = {build.id: replace(build) for build in report.builds}
    units = list(report.units)
    outcomes = dict(report.stats.outcomes)
    saved_ms = report.stats.saved_compile_ms
    first_ns = units[0].at_ns if units else min(each["at_ns"] for each in events)
    for each in sorted(events, key=lambda each: int(each["at_ns"])):
        unit = _unit(each, first_ns)
        units.append(unit)
        outcomes[unit.outcome] = outcomes.get(unit.outcome, 0) + 1
        build = builds.setdefault(
            unit.build, Build(unit.build, each["command"], each["root"], unit.at_ns, 0.0, 0, 0, 0, 0, 0)
        )
        saved_ms += _count(build, unit)
    newest_first = sorted(builds.values(), key=lambda build: -build.started_ns)
    failed = report.stats.failed + sum(each["outcome"] == "miss" and each["reason"] in FAILED for each in events)
    counted = replace(report.stats, failed=failed, outcomes=outcomes, saved_compile_ms=saved_ms)
    return replace(report, builds=newest_first, units=units, stats=counted)


def _count(build: Build, unit: Unit) -> int:
    """Count one call; the compile time it saved, ms."""
    end_ms = (unit.at_ns - build.started_ns) / 1e6 + unit.duration_ms
    build.wall_ms = max(build.wall_ms, end_ms)
    saved_ms = 0
    if unit.outcome in HITS:
        build.hits += 1
        saved_ms = max(unit.compile_ms - int(unit.duration_ms), 0)
        build.saved_ms += saved_ms
    elif unit.outcome == "miss":
        build.misses += 1
    elif unit.outcome == "passthrough":
        build.passthroughs += 1
    elif unit.outcome == "error":
        build.errors += 1
    return saved_ms


def _unit(each: Told, first_ns: int) -> Unit:
    own_ms = each["elapsed_us"] / 1000
    waited_ms = own_ms if each["outcome"] in (*HITS, "seeded") else own_ms + each["compile_ms"]
    return Unit(
        at_ns=each["at_ns"],
        build=each["build"],
        crate_name=each["crate_name"],
        unit_kind=each["unit_kind"],
        outcome=each["outcome"],
        reason=each["reason"],
        start_ms=round((each["at_ns"] - first_ns) / 1e6, 3),
        duration_ms=round(waited_ms, 3),
        compile_ms=each["compile_ms"],
        bytes=each["bytes"],
    )
