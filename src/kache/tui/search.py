"""The slash of both programs: what is typed after it narrows a table."""

from __future__ import annotations

from typing import Any

from textual.app import App
from textual.widgets import Input


def may_begin(app: App[Any]) -> bool:
    """Whether a slash begins a search: in a line that is typed it is a slash, and below a question it is nothing."""
    return not isinstance(app.focused, Input) and len(app.screen_stack) == 1


def begin(app: App[Any], field: Input) -> None:
    """Give the keys to the line at once: those that came together with the slash are of the name, not commands."""
    field.add_class("shown")
    app.screen.set_focus(field)
