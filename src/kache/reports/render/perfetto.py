"""A build report as a trace that Perfetto and chrome://tracing open. Pure.

Source: the Trace Event Format: complete events (`X`) on threads of processes, named by metadata events (`M`).
"""

from __future__ import annotations

from typing import Any

from kache.reports.build_report import Report, Unit
from kache.reports.render.shared import group_of, why

# Reserved names of chrome://tracing; Perfetto takes any and colours by name.
_COLOURS = {"hit": "good", "miss": "bad", "passthrough": "grey", "error": "terrible"}


def to_trace(report: Report) -> dict[str, Any]:
    """One process a build, one thread a lane: units that ran at the same time lie below each other."""
    events: list[dict[str, Any]] = []
    for number, build in enumerate(reversed(report.builds), 1):
        units = [unit for unit in report.units if unit.build == build.id]
        events.append(_named("process_name", number, 0, f"{build.command} in {build.root}"))
        lanes_used = 0
        for unit, lane in zip(units, lanes(units), strict=True):
            lanes_used = max(lanes_used, lane + 1)
            events.append(
                {
                    "name": f"{unit.crate_name} {unit.unit_kind}".strip() or unit.outcome,
                    "cat": unit.outcome,
                    "ph": "X",
                    "ts": round(unit.start_ms * 1000, 1),
                    "dur": round(max(unit.duration_ms * 1000, 1), 1),
                    "pid": number,
                    "tid": lane + 1,
                    "cname": _COLOURS.get(group_of(unit.outcome), "grey"),
                    "args": {
                        "outcome": unit.outcome,
                        "why": why(unit),
                        "compile_ms": unit.compile_ms,
                        "bytes": unit.bytes,
                    },
                }
            )
        events += [_named("thread_name", number, lane + 1, f"lane {lane + 1}") for lane in range(lanes_used)]
    return {
        "displayTimeUnit": "ms",
        "otherData": {"made by": "kache report", "scope": report.scope},
        "traceEvents": events,
    }


def lanes(units: list[Unit]) -> list[int]:
    """A lane for each unit, in order of start: the first one that is free."""
    free_at: list[float] = []
    found = []
    for unit in units:
        lane = next((at for at, free in enumerate(free_at) if free <= unit.start_ms), len(free_at))
        if lane == len(free_at):
            free_at.append(0.0)
        free_at[lane] = unit.start_ms + unit.duration_ms
        found.append(lane)
    return found


def _named(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"name": what, "ph": "M", "pid": process, "tid": thread, "args": {"name": name}}
