"""A build report for a terminal. Pure."""

from __future__ import annotations

from kache.reports.build_report import Build, Report
from kache.reports.render.shared import fetched_in_vain, headline, outcome_word, units_note, why
from kache.reports.render.text import human_duration, plural, table

_BAR_WIDTH = 30
_COMMAND_WIDTH = 60


def to_text(report: Report, top: int) -> str:
    """Figures, builds, slowest units, causes, crates compiled most often."""
    if not report.units:
        return f"{report.scope}: kache has seen no compile"
    width = max(len(name) for name, _ in headline(report))
    parts = [report.scope, "\n".join(f"{name:<{width}}  {value}" for name, value in headline(report))]
    parts.append(_builds(report.builds[:top], len(report.builds)))
    rows = [
        [
            unit.crate_name,
            unit.unit_kind,
            outcome_word(unit.outcome, unit.reason),
            human_duration(unit.duration_ms / 1000),
            why(unit),
        ]
        for unit in report.slowest(top)
    ]
    parts.append(table(["slowest", "unit", "outcome", "took", "why"], rows, right=frozenset({3})))
    if report.causes:
        most = max(report.causes.values())
        rows = [[cause, str(count), "#" * max(_BAR_WIDTH * count // most, 1)] for cause, count in report.causes.items()]
        parts.append(table(["cause of misses", "units", ""], rows, right=frozenset({1})))
    if report.stats.passthrough_reasons:
        rows = [[reason, str(count)] for reason, count in [*report.stats.passthrough_reasons.items()][:top]]
        parts.append(table(["passthrough reason", "calls"], rows, right=frozenset({1})))
    chronic = [[name, str(count), human_duration(ms / 1000)] for name, count, ms in report.chronic(top) if count > 1]
    if chronic:
        parts.append(table(["compiled often", "times", "took"], chronic, right=frozenset({1, 2})))
    for title, wasted in fetched_in_vain(report, top):
        parts.append(table([title, "size", "waited", "compile"], wasted, right=frozenset({1, 2, 3})))
    note = units_note(report)
    return "\n\n".join([*parts, *([note] if note else [])])


def _builds(builds: list[Build], total: int) -> str:
    rows = [
        [
            short(build.command),
            human_duration(build.wall_ms / 1000),
            str(build.hits),
            str(build.misses),
            str(build.passthroughs),
            human_duration(build.saved_ms / 1000),
            build.root,
        ]
        for build in builds
    ]
    text = table(["build", "took", "hits", "misses", "passed", "saved", "in"], rows, right=frozenset({1, 2, 3, 4, 5}))
    more = total - len(builds)
    return f"{text}\nand {plural(more, 'build')} more" if more > 0 else text


def short(command: str) -> str:
    """A command line that fits."""
    return command if len(command) <= _COMMAND_WIDTH else f"{command[: _COMMAND_WIDTH - 3]}..."
