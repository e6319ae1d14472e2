"""One frame of the monitor without a terminal: for scripts, bug reports and tests."""

from __future__ import annotations

import asyncio
from typing import Any

from textual.app import App
from textual.pilot import Pilot

from kache.tui.app import Monitor
from kache.tui.source import Source

_LOOK_S = 0.1
_LOOKS = 100
_STEADY = 3


def frame(source: Source, tab: str, size: tuple[int, int], *, as_svg: bool, light: bool = False) -> str:
    """What the monitor would show now.

    Args:
        source: of what is shown.
        tab: which.
        size: columns and rows, in characters.
        as_svg: a picture, not text.
        light: in the light theme.
    """
    return asyncio.run(_frame(Monitor(source, lambda crate: crate, light=light), tab, size, as_svg=as_svg))


async def _frame(app: Monitor, tab: str, size: tuple[int, int], *, as_svg: bool) -> str:
    app.animation_level = "none"
    async with app.run_test(size=size) as pilot:
        app.action_tab(tab)
        text = await settled(app, pilot)
        return app.export_screenshot(title="kache monitor") if as_svg else text


async def settled(app: Monitor, pilot: Pilot[None]) -> str:
    """The screen's characters, once they stay what they are."""
    text, same = "", 0
    for _ in range(_LOOKS):
        await pilot.pause(_LOOK_S)
        before, text = text, text_of(app)
        same = same + 1 if text == before and app.has_looked else 0
        if same >= _STEADY:
            break
    return text


def text_of(app: App[Any]) -> str:
    """The screen's characters."""
    strips = app.screen._compositor.render_strips()
    return "\n".join(strip.text.rstrip() for strip in strips).rstrip() + "\n"
