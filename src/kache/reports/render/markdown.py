"""A build report as Markdown, and as the summary of a GitHub step. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kache.reports.build_report import Report
from kache.reports.render.report_text import short
from kache.reports.render.shared import fetched_in_vain, headline, outcome_word, units_note, why
from kache.reports.render.text import human_duration


def to_markdown(report: Report, top: int) -> str:
    """Headings and tables."""
    parts = [f"## kache: {_plain(report.scope)}", _figures(report)]
    parts += [f"### {title}\n\n{body}" for title, body in _sections(report, top)]
    note = units_note(report)
    return "\n\n".join([*parts, *([note] if note else [])])


def to_github(report: Report, top: int) -> str:
    """The figures in the open, the rest folded away: a summary page has many steps."""
    parts = [f"### kache: {_plain(report.scope)}", _figures(report)]
    parts += [f"<details><summary>{title}</summary>\n\n{body}\n\n</details>" for title, body in _sections(report, top)]
    return "\n\n".join(parts)


def _figures(report: Report) -> str:
    figures = headline(report)
    return _table([name for name, _ in figures], [[value for _, value in figures]])


def _sections(report: Report, top: int) -> list[tuple[str, str]]:
    found = []
    if report.builds:
        rows = [
            [
                _code(short(build.command)),
                human_duration(build.wall_ms / 1000),
                str(build.hits),
                str(build.misses),
                str(build.passthroughs),
                human_duration(build.saved_ms / 1000),
            ]
            for build in report.builds[:top]
        ]
        found.append(("Builds", _table(["build", "took", "hits", "misses", "passed", "saved"], rows)))
    if report.units:
        rows = [
            [
                _code(unit.crate_name),
                unit.unit_kind,
                outcome_word(unit.outcome, unit.reason),
                human_duration(unit.duration_ms / 1000),
                why(unit),
            ]
            for unit in report.slowest(top)
        ]
        found.append(("Slowest units", _table(["crate", "unit", "outcome", "took", "why"], rows)))
    if report.causes:
        rows = [[cause, str(count)] for cause, count in report.causes.items()]
        found.append(("Causes of misses", _table(["cause", "units"], rows)))
    if report.stats.passthrough_reasons:
        rows = [[reason, str(count)] for reason, count in [*report.stats.passthrough_reasons.items()][:top]]
        found.append(("Passthroughs", _table(["reason", "calls"], rows)))
    for title, rows in fetched_in_vain(report, top):
        found.append((title.capitalize(), _table(["crate", "size", "waited", "compile"], rows)))
    return found


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    inside = text if text.startswith("`") else _plain(text)
    return inside.replace("|", "\\|")


def _plain(text: str) -> str:
    return text.replace("<", "&lt;").replace("\n", " ")


def _code(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`" if text else ""
