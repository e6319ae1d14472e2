"""A build report as one HTML file: no script, no font, no picture from anywhere else; charts are SVG. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from kache.reports.build_report import Day, Report, Unit
from kache.reports.render.perfetto import lanes
from kache.reports.render.report_text import short
from kache.reports.render.shared import GROUPS, day, group_of, headline, moment, outcome_word, units_note, why
from kache.reports.render.text import human_duration

_WIDTH = 960
_LANE_PX = 12
_LABEL_PX = 150
_MAX_LANES = 64
_STYLE = """\
:root { color-scheme: light dark; --text: #1c2024; --soft: #60646c; --line: #d9d9e0; --back: #fcfcfd; --card: #f0f0f3;
  --hit: #30a46c; --miss: #e5484d; --passthrough: #8b8d98; --error: #8e4ec6; }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --soft: #b0b4ba; --line: #363a3f; --back: #111113;
  --card: #1b1c1f; } }
body { margin: 2rem auto; max-width: 62rem; padding: 0 1rem; color: var(--text); background: var(--back);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .6rem; }
.figures div { background: var(--card); border-radius: .4rem; padding: .5rem .8rem; }
.figures b { display: block; font-size: .8rem; font-weight: 400; color: var(--soft); }
table { border-collapse: collapse; width: 100%; } td, th { text-align: left; padding: .2rem .6rem .2rem 0;
  border-bottom: 1px solid var(--line); } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font-size: 11px; } .hit { fill: var(--hit); } .miss { fill: var(--miss); }
.passthrough { fill: var(--passthrough); } .error { fill: var(--error); }
.grid { stroke: var(--line); } .key span { display: inline-block; width: .8em; height: .8em; margin: 0 .3em 0 1em; }
"""


def to_html(report: Report, top: int) -> str:
    """The file."""
    figures = "".join(f"<div><b>{escape(name)}</b>{escape(value)}</div>" for name, value in headline(report))
    parts = [f"<h1>kache: {escape(report.scope)}</h1>", f'<div class="figures">{figures}</div>']
    if report.units:
        parts.append(f"<h2>Timeline</h2>{_key()}{_timeline(report)}")
    if report.causes:
        parts.append(f"<h2>Causes of misses</h2>{_bars(report.causes, 'miss', 'causes')}")
    if report.stats.passthrough_reasons:
        parts.append(f"<h2>Passthroughs</h2>{_bars(report.stats.passthrough_reasons, 'passthrough', 'passthroughs')}")
    if report.days:
        parts.append(f"<h2>Compile time saved, by day</h2>{_days(report.days)}")
    parts += [_builds(report, top), _slowest(report, top)]
    note = units_note(report)
    parts.append(f"<p>{escape(note + '; ' if note else '')}made {moment(report.generated_ns)} by kache report</p>")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>kache: {escape(report.scope)}</title><style>\n{_STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _key() -> str:
    spans = "".join(f'<span style="background: var(--{name})"></span>{name}' for name in GROUPS)
    return f'<p class="key">{spans}</p>'


def _timeline(report: Report) -> str:
    """Units as bars, in as many lanes as ran at once; builds far apart are drawn without the time between them."""
    pieces: list[str] = []
    top = 0
    for build in reversed(report.builds):
        units = [unit for unit in report.units if unit.build == build.id]
        if not units:
            continue
        start = units[0].start_ms
        span = max(max(unit.start_ms + unit.duration_ms for unit in units) - start, 1.0)
        title = f"{short(build.command)} in {build.root}: {human_duration(span / 1000)}"
        pieces.append(f'<text x="0" y="{top + 12}">{escape(title)}</text>')
        top += 18
        used = 0
        for unit, lane in zip(units, lanes(units), strict=True):
            if lane < _MAX_LANES:
                used = max(used, lane + 1)
                pieces.append(_bar(unit, start, span, top + lane * _LANE_PX))
        top += used * _LANE_PX + 14
    return (
        f'<div class="scroll"><svg id="timeline" viewBox="0 0 {_WIDTH} {top}" role="img">{"".join(pieces)}</svg></div>'
    )


def _bar(unit: Unit, start: float, span: float, top: int) -> str:
    left = (unit.start_ms - start) / span * _WIDTH
    width = max(unit.duration_ms / span * _WIDTH, 0.8)
    how = f"{outcome_word(unit.outcome, unit.reason)}, {human_duration(unit.duration_ms / 1000)} {why(unit)}"
    told = f"{unit.crate_name} {unit.unit_kind}: {how}"
    return (
        f'<rect class="{group_of(unit.outcome)}" x="{left:.1f}" y="{top}" width="{width:.1f}" height="{_LANE_PX - 2}">'
        f"<title>{escape(told.strip())}</title></rect>"
    )


def _bars(counts: dict[str, int], css: str, name: str) -> str:
    most = max(counts.values())
    pieces = []
    for at, (label, count) in enumerate(counts.items()):
        top, width = at * 20, max((_WIDTH - _LABEL_PX - 60) * count / most, 1)
        pieces.append(
            f'<text x="{_LABEL_PX - 8}" y="{top + 12}" text-anchor="end">{escape(label)}</text>'
            f'<rect class="{css}" x="{_LABEL_PX}" y="{top}" width="{width:.1f}" height="15"/>'
            f'<text x="{_LABEL_PX + width + 6:.1f}" y="{top + 12}">{count}</text>'
        )
    return f'<svg id="{name}" viewBox="0 0 {_WIDTH} {len(counts) * 20}" role="img">{"".join(pieces)}</svg>'


def _days(days: Sequence[Day]) -> str:
    most = max((each.saved_ms for each in days), default=0) or 1
    step = _WIDTH / len(days)
    pieces = [f'<line class="grid" x1="0" x2="{_WIDTH}" y1="120" y2="120"/>']
    for at, each in enumerate(days):
        height = 110 * each.saved_ms / most
        left, width = at * step, min(step * 0.8, 60)
        saved = human_duration(each.saved_ms / 1000)
        told = f"{day(each.start_ns)}: {saved} saved, {each.hits} hits, {each.misses} misses"
        pieces.append(
            f'<rect class="hit" x="{left:.1f}" y="{120 - height:.1f}" width="{width:.1f}" height="{height:.1f}">'
            f'<title>{escape(told)}</title></rect><text x="{left:.1f}" y="134">{day(each.start_ns)}</text>'
        )
    return f'<svg id="days" viewBox="0 0 {_WIDTH} 140" role="img">{"".join(pieces)}</svg>'


def _builds(report: Report, top: int) -> str:
    rows = [
        (
            short(build.command),
            build.root,
            human_duration(build.wall_ms / 1000),
            str(build.hits),
            str(build.misses),
            str(build.passthroughs),
            human_duration(build.saved_ms / 1000),
        )
        for build in report.builds[:top]
    ]
    return _table("Builds", ("build", "in", "took", "hits", "misses", "passed", "saved"), rows, 2)


def _slowest(report: Report, top: int) -> str:
    rows = [
        (
            unit.crate_name,
            unit.unit_kind,
            outcome_word(unit.outcome, unit.reason),
            why(unit),
            human_duration(unit.duration_ms / 1000),
        )
        for unit in report.slowest(top)
    ]
    return _table("Slowest units", ("crate", "unit", "outcome", "why", "took"), rows, 4)


def _table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], first_number: int) -> str:
    if not rows:
        return ""

    def line(tag: str, cells: Sequence[str]) -> str:
        classes = ["", ' class="n"']
        return "".join(f"<{tag}{classes[at >= first_number]}>{escape(cell)}</{tag}>" for at, cell in enumerate(cells))

    body = "".join(f"<tr>{line('td', row)}</tr>" for row in rows)
    return f'<h2>{title}</h2><div class="scroll"><table><tr>{line("th", headings)}</tr>{body}</table></div>'
