"""The service's pages: plain HTML without a script, so that nothing a build says can become one. Pure."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from html import escape

from kache.planner.service.history import Workspace, Workspaces

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 68rem; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .6rem; text-align: left; border-bottom: 1px solid #8884; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.bar { display: inline-block; height: .6rem; background: #3a7; vertical-align: middle; }
p.none { color: #888; }
"""


def overview(found: Workspaces) -> str:
    """All workspaces."""
    rows = [
        (
            f'<a href="/workspaces/{each.workspace}">{escape(each.label or each.workspace[:12])}</a>',
            _number(each.builds),
            _percent(each.hit_rate),
            _seconds(each.saved_ms),
            _percent(each.precision),
            _percent(each.recall),
            _when(each.last_s),
        )
        for each in found.workspaces
    ]
    headings = ("workspace", "builds", "hit rate", "saved", "plan precision", "plan recall", "last build")
    body = _table(headings, rows) if rows else '<p class="none">No build was told of yet.</p>'
    return _page("Workspaces", body)


def workspace(found: Workspace) -> str:
    """One workspace: its last builds and its slowest units."""
    summary = found.summary
    builds = [
        (
            _when(each.at_s),
            escape(f"{each.command or 'any'} {each.profile}"),
            escape(each.branch),
            escape(each.job),
            f"{each.hits} of {each.units}",
            _seconds(each.saved_ms),
            _percent(each.precision),
            _percent(each.recall),
            _number(each.late),
        )
        for each in found.builds
    ]
    longest = max((unit.compile_ms for unit in found.slowest), default=0) or 1
    units = [
        (
            escape(unit.crate_name),
            escape(unit.unit_kind),
            escape(unit.package),
            _seconds(unit.compile_ms),
            f'<span class="bar" style="width:{max(160 * unit.compile_ms // longest, 1)}px"></span>',
        )
        for unit in found.slowest
    ]
    name = summary.label or summary.workspace[:12]
    facts = (
        f"<p>{summary.builds} builds, {_percent(summary.hit_rate)} of {summary.units} units were hits,"
        f" {_seconds(summary.saved_ms)} of compiling saved. Plans: {_percent(summary.precision)} of what was fetched"
        f" was used, {_percent(summary.recall)} of what was needed was fetched, {summary.late} late.</p>"
    )
    headings = ("when", "build", "branch", "job", "hits", "saved", "plan precision", "plan recall", "late")
    parts = [facts, "<h2>Builds</h2>", _table(headings, builds)]
    parts += ["<h2>Slowest units</h2>", _table(("crate", "kind", "package", "compile", ""), units)]
    return _page(name, "".join(parts), '<p><a href="/">all workspaces</a></p>')


def problem(what: str) -> str:
    """Something that is not there, or not for everybody."""
    return _page("kache planner", f"<p>{escape(what)}</p>")


def _page(title: str, body: str, before: str = "") -> str:
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)} - kache planner</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>'
        f"<body>{before}<h1>{escape(title)}</h1>{body}</body></html>"
    )


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    numbers = {at for at, name in enumerate(headings) if name not in ("workspace", "build", "branch", "job", "crate")}
    numbers -= {at for at, name in enumerate(headings) if name in ("kind", "package", "when", "last build", "")}

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag} class=n>{cell}</{tag}>" if at in numbers else f"<{tag}>{cell}</{tag}>"
            for at, cell in enumerate(cells)
        )

    body = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows)
    return f"<table><thead><tr>{line(headings, 'th')}</tr></thead><tbody>{body}</tbody></table>"


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _percent(part: float | None) -> str:
    return "-" if part is None else f"{part:.0%}"


def _seconds(ms: int) -> str:
    seconds = ms / 1000
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _when(at_s: int) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(min(at_s, 253_402_300_799)))
    except (OverflowError, ValueError, OSError):
        return "-"
