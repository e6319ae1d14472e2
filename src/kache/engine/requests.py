"""A request's environment, as bytes and as text."""

from __future__ import annotations

import os

from kache.ipc.protocol import Request


def environment(request: Request) -> dict[bytes, bytes]:
    """Names and values as the process has them; the last of a name given twice counts."""
    return {name: value for name, _, value in (pair.partition(b"=") for pair in request.env)}


def environment_text(request: Request) -> dict[str, str]:
    """The same for what reads settings."""
    return {os.fsdecode(name): os.fsdecode(value) for name, value in environment(request).items()}
