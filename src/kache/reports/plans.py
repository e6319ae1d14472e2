"""How good the plans of prefetches were: part of `kache stats`."""

from __future__ import annotations

import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from kache.reports.database import Window
from kache.reports.render.text import human_bytes, human_duration, plural

_SUMMED = (
    "planned",
    "fetched",
    "used",
    "late",
    "fetched_bytes",
    "used_bytes",
    "needed_bytes",
    "saved_ms",
    "wasted_ms",
)


@dataclass(slots=True)
class Plans:
    """Sums over the plans of a window whose builds have ended.

    Attributes:
        plans: how many.
        planned, fetched, used, late: units; see `kache.core.usage.PlanScore`.
        fetched_bytes, used_bytes, needed_bytes: of their outputs.
        saved_ms, wasted_ms: compile time of what was used; time spent on what was not.
    """

    plans: int = 0
    planned: int = 0
    fetched: int = 0
    used: int = 0
    late: int = 0
    fetched_bytes: int = 0
    used_bytes: int = 0
    needed_bytes: int = 0
    saved_ms: int = 0
    wasted_ms: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def collect(connection: sqlite3.Connection, window: Window) -> Plans:
    """Sum the scores of a window."""
    found = Plans()
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'plan_scores'").fetchone() is None:
        return found
    condition, values = window.where()
    rows = connection.execute(f"SELECT body FROM plan_scores WHERE {condition}", values).fetchall()
    if not rows:
        return found
    import msgspec  # 16 ms that only those with plans pay

    from kache.core.usage import PlanScore

    decoder = msgspec.msgpack.Decoder(PlanScore)
    for (body,) in rows:
        try:
            score = decoder.decode(body)
        except msgspec.MsgspecError:
            continue
        found.plans += 1
        for name in _SUMMED:
            setattr(found, name, getattr(found, name) + getattr(score, name))
    return found


def to_lines(found: Plans) -> list[str]:
    """Lines for people; none if nothing was ever planned."""
    if not found.plans:
        return []
    precision = f"{found.used_bytes / found.fetched_bytes:.0%}" if found.fetched_bytes else "none"
    recall = f"{min(found.used_bytes / found.needed_bytes, 1.0):.0%}" if found.needed_bytes else "none"
    saved, wasted = human_duration(found.saved_ms / 1000), human_duration(found.wasted_ms / 1000)
    fetched = f"{plural(found.fetched, 'unit')}, {human_bytes(found.fetched_bytes)} unpacked"
    return [
        f"plans     {found.plans}: fetched {fetched}; {precision} of it used, {recall} of what was needed",
        f"          {found.late} late; {saved} of compiling for it, {wasted} spent on what was not used",
    ]
