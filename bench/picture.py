"""Draw a result as SVG: cold and warm wall time per tool, one group of bars a project."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

WIDTH, BAR, GAP, LEFT = 760, 18, 6, 190
COLOURS = {"plain": "#8a8f98", "nothing": "#c9ccd1", "kache": "#2f6fb3"}
PEER_COLOUR = "#c98b3a"


def draw(title: str, groups: Mapping[str, Mapping[str, float]]) -> str:
    """Return an SVG document.

    Args:
        title: the heading.
        groups: heading of a group of bars to bars, name to seconds; each group has a scale of its own.
    """
    parts: list[str] = []
    y = 56
    for heading, bars in groups.items():
        if not bars:
            continue
        parts.append(_text(16, y, heading, "bold"))
        y += 12
        longest = max(bars.values())
        for name, value in bars.items():
            parts += _bar(name, value, value / longest if longest else 0, y)
            y += BAR + GAP
        y += 26
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
        'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, _text(16, 28, title, "bold", 16), *parts, "</svg>"]) + "\n"


def _bar(name: str, value: float, share: float, y: int) -> Sequence[str]:
    width = max(1, round(share * (WIDTH - LEFT - 110)))
    colour = COLOURS.get(name, PEER_COLOUR)
    label = {"plain": "plain cargo", "nothing": "replay only (floor)"}.get(name, name)
    return [
        f'<text x="{LEFT - 10}" y="{y + 14}" text-anchor="end">{escape(label)}</text>',
        f'<rect x="{LEFT}" y="{y}" width="{width}" height="{BAR}" fill="{colour}"/>',
        _text(LEFT + width + 8, y + 14, f"{value:.2f} s"),
    ]


def _text(x: int, y: int, text: str, weight: str = "normal", size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" font-weight="{weight}" font-size="{size}">{escape(text)}</text>'


def groups_of(figures: Mapping[str, Mapping[str, dict[str, object]]]) -> dict[str, dict[str, float]]:
    """Pick the bars out of a result's figures, phase to project to figures."""
    groups: dict[str, dict[str, float]] = {}
    for project, found in figures.get("cold", {}).items():
        bars = {"plain": _median(found.get("plain_wall_s")), "kache": _median(found.get("kache_wall_s"))}
        peers = found.get("peers")
        if isinstance(peers, dict):
            bars |= {name: _median(peer["wall_s"]) for name, peer in peers.items()}
        groups[f"{project}: cold, empty store"] = bars
    for project, found in figures.get("warm", {}).items():
        walls = found.get("wall_s")
        if isinstance(walls, dict):
            groups[f"{project}: warm, empty target in another checkout"] = {
                name: _median(w) for name, w in walls.items()
            }
    return groups


def _median(found: object) -> float:
    return float(found["median"]) if isinstance(found, dict) else 0.0
