"""What the Planner tab shows: the last plan and what became of it. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kache.config.load import Config
from kache.reports.render.text import human_bytes, human_duration, plural
from kache.tui.source import Snapshot
from kache.tui.tables import MAX_ROWS, Line, bar, matches

COLUMNS = ("crate", "unit", "what became of it", "size", "why")
STATES = ("predicted", "fetched", "used", "late", "unused", "failed")
_WIDTH = 30


def plan_of(snapshot: Snapshot) -> Mapping[str, Any] | None:
    """The daemon's last plan; None when there is none."""
    found = (snapshot.daemon or {}).get("plan")
    return found if isinstance(found, Mapping) and found else None


def summary(snapshot: Snapshot, config: Config) -> str:
    """One line on the plan, and bars; or why there is none."""
    plan = plan_of(snapshot)
    if plan is None:
        return _none(snapshot, config)
    units: Sequence[Mapping[str, Any]] = plan.get("units", ())
    counts = Counter(str(each.get("state", "predicted")) for each in units)
    age = human_duration(max(snapshot.now_ns - int(plan.get("at_ns", snapshot.now_ns)), 0) / 1e9)
    lines = [f"{plural(len(units), 'unit')} planned {age} ago for {plan.get('root') or 'a build'}"]
    if plan.get("source"):
        lines[0] += f", by {plan['source']}"
    most = max(counts.values(), default=1)
    lines += [f"{state:<10} {bar(counts[state] / most, _WIDTH)} {counts[state]}" for state in STATES if counts[state]]
    return "\n".join(lines)


def units(snapshot: Snapshot, wanted: str, sort: str) -> list[Line]:
    """The planned units, in the order they would be fetched where no other is asked for."""
    plan = plan_of(snapshot) or {}
    found = [
        each
        for each in plan.get("units", ())
        if matches(wanted, str(each.get("crate_name", "")), str(each.get("state", "")))
    ]
    if sort == "name":
        found.sort(key=lambda each: str(each.get("crate_name", "")))
    elif sort == "size":
        found.sort(key=lambda each: -int(each.get("bytes", 0)))
    return [
        Line(
            str(number),
            (
                str(each.get("crate_name", "")),
                str(each.get("unit_kind", "")),
                str(each.get("state", "predicted")),
                human_bytes(int(each.get("bytes", 0))) if each.get("bytes") else "",
                str(each.get("why", "")),
            ),
        )
        for number, each in enumerate(found[:MAX_ROWS])
    ]


def _none(snapshot: Snapshot, config: Config) -> str:
    """Why there is no plan, and how one comes about."""
    if config.remote is None:
        why = "none is possible without a remote to fetch from: kache config set remote URL"
    elif snapshot.daemon is None:
        why = "no daemon runs: the first compile starts it"
    else:
        why = "no build has been planned since the daemon started"
    return (
        f"no plan: {why}\n"
        "A plan names what the next build will want, by earlier builds, so that it is fetched before cargo asks.\n"
        "kache prefetch makes one; so do the hooks of kache init --git-hooks after a checkout."
    )
