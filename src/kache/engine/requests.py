"""A request's environment, as bytes and as text."""

from __future__ import annotations

import os

from kache.ipc.protocol import Request

_JOBSERVER = (b"CARGO_MAKEFLAGS", b"MAKEFLAGS", b"MFLAGS")


def environment(request: Request) -> dict[bytes, bytes]:
    """Names and values as the process has them; the last of a name given twice counts."""
    return {name: value for name, _, value in (pair.partition(b"=") for pair in request.env)}


def environment_text(request: Request) -> dict[str, str]:
    """The same for what reads settings."""
    return {os.fsdecode(name): os.fsdecode(value) for name, value in environment(request).items()}


def environment_afterwards(request: Request) -> dict[bytes, bytes]:
    """The same for a compile when its cargo has ended: rustc would warn of a jobserver that is gone."""
    return {name: value for name, value in environment(request).items() if name not in _JOBSERVER}
