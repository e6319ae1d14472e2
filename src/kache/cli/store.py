"""The store opened for a command that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kache.cli.session import Session
from kache.reports.database import INDEX

if TYPE_CHECKING:
    from kache.store.local import LocalStore


@contextmanager
def changed_store(session: Session, *, heal: bool = False) -> Iterator[LocalStore | None]:
    """Open the store with the daemon's records in it; None when there is none, which is an empty one.

    Args:
        session: the command.
        heal: start an empty index in place of a damaged one, which is kept aside.
    """
    session.flush_daemon()
    if not (session.config.cache_dir / INDEX).exists():
        yield None
        return
    from kache.store.local import LocalStore

    store = LocalStore.open(session.config.cache_dir, create=heal)
    try:
        yield store
    finally:
        store.close()


def gc_data(report: Any) -> dict[str, Any]:
    """A GcReport as JSON data, all zero for a store that does not exist."""
    names = ("evicted_entries", "freed_bytes", "kept_entries", "kept_bytes")
    return {name: getattr(report, name, 0) for name in names}
