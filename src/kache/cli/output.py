"""Standard output: data alone, as text for people or as one versioned JSON document."""

from __future__ import annotations

import json
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
    """

    data: dict[str, Any]
    text: str = ""
    exit_code: int = 0
    command: str = ""


def print_result(verb: str, result: Result, *, as_json: bool) -> None:
    """Write one result."""
    if as_json:
        _print_document({"command": result.command or verb, "success": True, "data": result.data})
    elif result.text:
        print(result.text)
    sys.stdout.flush()


def print_error_document(command: str, error: KacheError) -> None:
    """Write one failure as JSON; its text for people goes to stderr, see `diagnostics`."""
    told = {"code": error.code, "message": error.what, "why": error.why, "fix": error.fix}
    _print_document({"command": command, "success": False, "error": told})
    sys.stdout.flush()


def _print_document(document: dict[str, Any]) -> None:
    print(json.dumps({"schema_version": SCHEMA_VERSION, **document}, indent=2))
