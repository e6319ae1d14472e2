"""A question on the terminal."""

from __future__ import annotations

import sys

from kache.cli.diagnostics import say
from kache.cli.session import Session
from kache.errors import UsageError


def confirmed(question: str, session: Session, *, fix: str, default: bool = False) -> bool:
    """Ask yes or no; the end of input is a no.

    Raises:
        UsageError: nobody is there to ask.
    """
    if session.as_json or not sys.stdin.isatty():
        raise UsageError("this needs a yes, and nobody is there to ask", why=question, fix=fix)
    say(f"{question} {'[Y/n]' if default else '[y/N]'}")
    answer = sys.stdin.readline()
    if not answer:
        return False
    word = answer.strip().lower()
    return default if not word else word in ("y", "yes")
