"""The remote opened for a command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from kache.cli.diagnostics import say
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.errors import ConfigError, KeysError

if TYPE_CHECKING:
    from kache.engine.transfer.bulk import Report
    from kache.engine.transfer.remotes import Remote


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


@contextmanager
def progress_of(session: Session, what: str) -> Iterator[Callable[[Report], None]]:
    """A bar on the terminal that follows a report."""
    with Progress(what, session) as bar:
        yield lambda report: bar.at(report.seen, report.total)


def say_problems(report: Report) -> None:
    """What went wrong, on stderr."""
    for problem in report.problems:
        say(f"warning: {problem}")
