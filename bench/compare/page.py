"""What `make bench-peers` found, as a table for the benchmark's page and one plot a project."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bench import picture

Found = Mapping[str, Any]
NOTHING = "Nothing yet: it takes hours on a machine that does nothing else.\n"
_LABELS = {
    "cold": "cold",
    "same": "fresh target, same checkout",
    "daemon": "the same, the daemon not running",
    "six": "six builds at once, other checkouts",
    "next": "next version, store of the one before",
    "edit": "edit",
    "other": "fresh target, other checkout",
    "empty": "empty machine",
}


def newest(results: Path) -> Found | None:
    """The newest comparison."""
    documents = (json.loads(path.read_text()) for path in sorted(results.glob("*-compare.json"), reverse=True))
    return next(documents, None)


def rows(document: Found) -> Iterator[tuple[str, str, Found]]:
    """Project, what was measured, and the verdict with its arms."""
    for phase, projects in document["figures"].items():
        for project, figures in projects.items():
            for label, found in _verdicts(_LABELS.get(phase, phase), figures):
                yield project, label, found


def _verdicts(label: str, figures: Found) -> Iterator[tuple[str, Found]]:
    if "arms" in figures:
        yield label, figures
        return
    for part, found in figures.items():
        if isinstance(found, dict) and "arms" in found:
            yield f"{label}: {part.replace('_', ' ')}", found


def table(results: Path) -> str:
    """Markdown: medians with ranges, the quickest in bold, whoever that is."""
    document = newest(results)
    if document is None:
        return NOTHING
    found = sorted(rows(document), key=lambda row: row[0])
    arms = list(dict.fromkeys(arm for _, _, verdict in found for arm in verdict["arms"]))
    machine = document["machine"]
    facts = (document["date"][:10], f"{machine['cores']} cores", machine["filesystem"], machine["rustc"].split(" (")[0])
    lines = [
        f"{', '.join(facts)}, {document['settings']['rounds']} rounds. Medians and ranges in seconds;",
        "the quickest is bold; *rejected*: no build used its store.",
        "",
        f"| project | what | {' | '.join(arms)} |",
        f"| --- | --- | {' | '.join('---' for _ in arms)} |",
    ]
    for project, label, verdict in found:
        cells = [_cell(verdict["arms"].get(arm), is_quickest=arm == verdict["quickest"]) for arm in arms]
        lines.append(f"| {project} | {label} | {' | '.join(cells)} |")
    absent = document["contestants"]["absent"]
    if absent:
        lines += ["", f"Not installed: {', '.join(absent)}."]
    return "\n".join([*lines, ""])


def _cell(arm: Found | None, *, is_quickest: bool) -> str:
    if arm is None:
        return ""
    if "wall_s" not in arm:
        return "*rejected*"
    wall = arm["wall_s"]
    text = f"{wall['median']:.2f} ({wall['min']:.2f} to {wall['max']:.2f})"
    return f"**{text}**" if is_quickest else text


def plots(results: Path) -> dict[str, str]:
    """File name to SVG, one a project."""
    document = newest(results)
    by_project: dict[str, dict[str, dict[str, float]]] = {}
    for project, label, verdict in rows(document) if document else ():
        bars = {name: arm["wall_s"]["median"] for name, arm in verdict["arms"].items() if "wall_s" in arm}
        by_project.setdefault(project, {})[label] = bars
    return {f"compare-{name}.svg": picture.draw(f"{name}, wall time", groups) for name, groups in by_project.items()}
