"""The store opened for a command that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from kache.cli.diagnostics import say
from kache.cli.session import Session
from kache.reports.database import INDEX

if TYPE_CHECKING:
    from kache.store.local import LocalStore


@contextmanager
def changed_store(session: Session, *, heal: bool = False, frees: bool = False) -> Iterator[LocalStore | None]:
    """Open the store with the daemon's records in it; None when there is none, which is an empty one.

    Args:
        session: the command.
        heal: start an empty index in place of one that is damaged anywhere, which is kept aside, and say so.
        frees: the command is to free space, so it must do on a full disk, where no index can be opened.
    """
    session.flush_daemon()
    index = session.config.cache_dir / INDEX
    if not index.exists():
        yield None
        return
    from kache.store.collect import make_room
    from kache.store.index import heal as set_aside_if_damaged
    from kache.store.local import LocalStore

    if frees:
        make_room(session.config.cache_dir / "store" / "blobs")
    aside = set_aside_if_damaged(index) if heal else None
    if aside is not None:
        say(f"warning: the index was damaged: every entry is forgotten; it is kept as {aside}")
    store = LocalStore.open(session.config.cache_dir, create=heal)
    try:
        yield store
    finally:
        store.close()


def gc_data(report: Any) -> dict[str, Any]:
    """A GcReport as JSON data, all zero for a store that does not exist."""
    names = ("evicted_entries", "freed_bytes", "kept_entries", "kept_bytes")
    return {name: getattr(report, name, 0) for name in names}
