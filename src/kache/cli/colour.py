"""Colour where somebody sees it: on terminals, by NO_COLOR and CLICOLOR_FORCE (no-color.org, clicolors)."""

from __future__ import annotations

import os
from typing import TextIO

RED = "\x1b[1;31m"
YELLOW = "\x1b[1;33m"
GREEN = "\x1b[32m"
DIM = "\x1b[2m"
_RESET = "\x1b[0m"


def paint(text: str, colour: str, stream: TextIO) -> str:
    """The text in a colour, if the stream takes any."""
    return f"{colour}{text}{_RESET}" if wanted(stream) else text


def wanted(stream: TextIO) -> bool:
    """Whether a stream gets colour."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("CLICOLOR_FORCE", "0") != "0":
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb" and os.environ.get("CLICOLOR", "1") != "0"
