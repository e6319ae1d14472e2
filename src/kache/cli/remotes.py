"""The remote opened for a command."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from kache.cli.diagnostics import say
from kache.cli.session import Session
from kache.errors import ConfigError, KeysError
from kache.reports.render.text import human_bytes

if TYPE_CHECKING:
    from kache.engine.transfer.bulk import Report
    from kache.engine.transfer.remotes import Remote

_CLEAR = "\r\x1b[K"


def open_remote(session: Session, *, must_trust: bool = True) -> Remote:
    """The configured remote.

    Raises:
        ConfigError: none is configured.
        RemoteError: it cannot be used.
        KeysError: no key is trusted, so nothing it holds could be believed.
    """
    if session.config.remote is None:
        why = "local_only is set" if session.config.local_only else "neither `remote` nor KACHE_REMOTE is set"
        raise ConfigError("there is no remote", why=why, fix="set KACHE_REMOTE=s3://bucket/prefix, or [cache.remote]")
    from kache.engine.transfer.remotes import open_one

    remote = open_one(session.config, session.env)
    if must_trust and not remote.trusted.keys:
        raise KeysError("no key is trusted", why="nothing in the remote can be believed")
    return remote


def progress_line(session: Session, verb: str) -> Callable[[Report], None]:
    """Shows a report while it grows, on a terminal alone."""
    if session.as_json or not sys.stderr.isatty():
        return lambda _: None

    def show(report: Report) -> None:
        text = f"{verb} {report.done}, {human_bytes(report.bytes)}; {report.skipped} there, {report.failed} failed"
        sys.stderr.write(f"{_CLEAR}{text}")
        sys.stderr.flush()

    return show


def end_progress(session: Session) -> None:
    """Give the terminal its line back."""
    if not session.as_json and sys.stderr.isatty():
        sys.stderr.write(_CLEAR)


def say_problems(report: Report) -> None:
    """What went wrong, on stderr."""
    for problem in report.problems:
        say(f"warning: {problem}")
