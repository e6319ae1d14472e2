"""What every drawing of a build report says alike. Pure."""

from __future__ import annotations

import time

from kache.reports.build_report import Report, Unit
from kache.reports.render.text import human_bytes, human_duration, plural
from kache.reports.stats import FAILED, HITS

GROUPS = ("hit", "miss", "passthrough", "error")


def group_of(outcome: str) -> str:
    """`hit` for every kind of hit."""
    return "hit" if outcome in (*HITS, "seeded") else outcome


def outcome_word(outcome: str, reason: str) -> str:
    """An outcome as people read it: a compile that failed was no miss of the cache's."""
    return "failed" if outcome == "miss" and reason in FAILED else outcome.replace("_", " ")


def headline(report: Report) -> list[tuple[str, str]]:
    """The figures that come first: what, how much."""
    counts = report.stats.outcomes
    hits = sum(counts[name] for name in HITS)
    misses = counts["miss"] - report.stats.failed
    asked = hits + misses
    rate = f"{100 * hits / asked:.0f} %" if asked else "-"
    restored = sum(report.stats.restore.values())
    return [
        ("hits", f"{hits} of {asked} ({rate})"),
        ("misses", str(misses)),
        *([("failed", str(report.stats.failed))] if report.stats.failed else []),
        ("passthroughs", str(counts["passthrough"])),
        ("errors", str(counts["error"])),
        ("saved", f"{human_duration(report.stats.saved_compile_ms / 1000)} of compiling"),
        ("restored", human_bytes(restored)),
        *wire(report),
        ("builds", str(len(report.builds))),
        (
            "store",
            f"{human_bytes(report.stats.store['allocated_bytes'])} of {human_bytes(report.stats.store['max_bytes'])}",
        ),
    ]


def wire(report: Report) -> list[tuple[str, str]]:
    """What went over the wire each way; nothing if no remote was used."""
    found = report.stats.remote
    if not found.get_requests and not found.put_requests:
        return []
    waited, saved = human_duration(found.waited_ms / 1000), human_duration(found.saved_compile_ms / 1000)
    got, put = plural(found.get_requests, "request"), plural(found.put_requests, "request")
    return [
        ("fetched", f"{human_bytes(found.received_bytes)} in {got}; waited {waited}, saved {saved} of compiling"),
        ("sent", f"{human_bytes(found.sent_bytes)} in {put}"),
    ]


def fetched_in_vain(report: Report, top: int) -> list[tuple[str, list[list[str]]]]:
    """Tables of what was fetched and of no use: title, and rows of crate, size, waited, its compile."""
    found = report.stats.remote
    tables = [("fetched, never used", found.unused), ("fetching was slower than compiling", found.slower)]
    return [
        (
            title,
            [
                [
                    one.crate_name or "?",
                    human_bytes(one.bytes),
                    human_duration(one.waited_ms / 1000),
                    human_duration(one.compile_ms / 1000),
                ]
                for one in entries[:top]
            ],
        )
        for title, entries in tables
        if entries
    ]


def why(unit: Unit) -> str:
    """Why a unit was no hit; empty for a hit."""
    if unit.cause:
        return f"{unit.cause} {unit.detail}".strip()
    return unit.reason


def day(time_ns: int) -> str:
    """`11-25`, in UTC."""
    return time.strftime("%m-%d", time.gmtime(time_ns / 1e9))


def moment(time_ns: int) -> str:
    """`2026-11-25 03:04 UTC`."""
    return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(time_ns / 1e9))


def units_note(report: Report) -> str:
    """What is not shown; empty when all is."""
    return f"{plural(report.units_left_out, 'older unit')} left out" if report.units_left_out else ""
