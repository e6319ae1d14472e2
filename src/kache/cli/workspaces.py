"""The workspace in which a command runs."""

from __future__ import annotations

import os
from typing import NamedTuple

from kache.cargo import intent, workspace
from kache.cargo.workspace import Workspace
from kache.cli.session import Session
from kache.core.digest import Digest
from kache.engine.prefetch.records import workspace_id
from kache.errors import UsageError


class Here(NamedTuple):
    """A workspace, and its identity with the salt of this configuration."""

    place: Workspace
    identity: Digest


def here(session: Session) -> Here:
    """Find it.

    Raises:
        UsageError: there is none.
    """
    command = intent.read([b"cargo", b"build"])
    assert command is not None
    env = {os.fsencode(name): os.fsencode(value) for name, value in session.env.items()}
    place = workspace.find(command, os.fsencode(session.cwd), env) if session.cwd is not None else None
    if place is None:
        raise UsageError(
            "this is no cargo workspace",
            why="there is no Cargo.toml here or above that can be read",
            fix="run it in the workspace, where you would run cargo",
        )
    return Here(place, workspace_id(place, session.config.key_salt))
