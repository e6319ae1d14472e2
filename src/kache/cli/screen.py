"""Whether there is a terminal that can be drawn on."""

from __future__ import annotations

import os
import sys

from kache.cli.session import Session
from kache.errors import UsageError
from kache.tui.styles import MIN_COLUMNS, MIN_ROWS


def can_draw(session: Session) -> bool:
    """Whether something may be drawn; else the same is asked for line by line."""
    try:
        refuse_what_cannot_be_drawn_on(session, "", fix="")
    except UsageError:
        return False
    return True


def refuse_what_cannot_be_drawn_on(session: Session, what: str, *, fix: str) -> None:
    """Say why not, before anything is drawn.

    Args:
        session: the command.
        what: is to be drawn, as the message calls it.
        fix: what to do instead.

    Raises:
        UsageError: there is no terminal, it is dumb, or too small.
    """
    if session.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"{what} needs a terminal", fix=fix)
    if os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError("this terminal (TERM=dumb) cannot be drawn on", fix=fix)
    size = os.get_terminal_size()
    if size.columns < MIN_COLUMNS or size.lines < MIN_ROWS:
        text = f"the terminal has {size.columns}x{size.lines} characters"
        raise UsageError(text, why=f"{what} needs {MIN_COLUMNS}x{MIN_ROWS}", fix=f"make it larger, or {fix}")
