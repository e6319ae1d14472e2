"""Standard output: data alone, as text for people or as one versioned JSON document."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import Any

from kache.errors import KacheError

SCHEMA_VERSION = 1
"""Raised when a field is removed or changes its meaning; new fields may appear at any time."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a command found.

    Attributes:
        data: the `data` of the JSON document.
        text: the same for people; nothing is printed when empty.
        exit_code: status of the process; not 0 when the answer itself is bad news.
        command: name in the document where it is more than the verb (`daemon status`).
        pages: the text may be long; a terminal that cannot hold it gets a pager.
    """

    data: dict[str, Any]
    text: str = ""
    exit_code: int = 0
    command: str = ""
    pages: bool = False


def print_result(verb: str, result: Result, *, as_json: bool) -> None:
    """Write one result."""
    if as_json:
        _print_document({"command": result.command or verb, "success": True, "data": result.data})
    elif result.text and not (result.pages and _page(result.text)):
        print(result.text)
    sys.stdout.flush()


def print_error_document(command: str, error: KacheError) -> None:
    """Write one failure as JSON; its text for people goes to stderr, see `diagnostics`."""
    told: dict[str, Any] = {"code": error.code, "message": error.what, "why": error.why, "fix": error.fix}
    told["next"] = list(error.next_commands)
    _print_document({"command": command, "success": False, "error": told})
    sys.stdout.flush()


def _print_document(document: dict[str, Any]) -> None:
    print(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2))


def _page(text: str) -> bool:
    """Show a text in the user's pager; False if it is not wanted, not needed or not there."""
    pager = os.environ.get("KACHE_PAGER", os.environ.get("PAGER", "less"))
    if not (pager and sys.stdout.isatty() and sys.stdin.isatty()):
        return False
    if text.count("\n") + 2 < os.get_terminal_size().lines:
        return False
    import shlex
    import subprocess

    # -R passes colours, -F ends at once what fits after all, -X leaves it on the screen.
    env = {"LESS": "FRX", **os.environ}
    try:
        return subprocess.run(shlex.split(pager), input=text + "\n", text=True, env=env, check=False).returncode != 127
    except (OSError, ValueError):
        return False
