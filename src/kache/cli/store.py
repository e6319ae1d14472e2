"""The store opened for a command that changes it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kache.cli.session import Session
from kache.reports.database import INDEX

_ROOM_BYTES = 4 << 20
"""For the index's log and shared memory while entries are deleted."""

if TYPE_CHECKING:
    from kache.store.local import LocalStore


@contextmanager
def changed_store(session: Session, *, heal: bool = False, frees: bool = False) -> Iterator[LocalStore | None]:
    """Open the store with the daemon's records in it; None when there is none, which is an empty one.

    Args:
        session: the command.
        heal: start an empty index in place of a damaged one, which is kept aside.
        frees: the command is to free space, so it must do on a full disk, where no index can be opened.
    """
    session.flush_daemon()
    if not (session.config.cache_dir / INDEX).exists():
        yield None
        return
    from kache.store.local import LocalStore

    if frees:
        _make_room(session.config.cache_dir)
    store = LocalStore.open(session.config.cache_dir, create=heal)
    try:
        yield store
    finally:
        store.close()


def _make_room(cache_dir: Path) -> None:
    """Delete blobs that no target shares, those untouched longest first, until SQLite has what it needs.

    An entry whose blob is gone is a miss, and dropped when it is asked for.
    """
    missing = _ROOM_BYTES - shutil.disk_usage(cache_dir).free
    if missing <= 0:
        return
    blobs = [(path.lstat(), path) for path in (cache_dir / "store" / "blobs").glob("*/*")]
    for found, path in sorted((each for each in blobs if each[0].st_nlink == 1), key=lambda each: each[0].st_ctime_ns):
        with suppress(OSError):
            path.unlink()
            missing -= found.st_blocks * 512
        if missing <= 0:
            return


def gc_data(report: Any) -> dict[str, Any]:
    """A GcReport as JSON data, all zero for a store that does not exist."""
    names = ("evicted_entries", "freed_bytes", "kept_entries", "kept_bytes")
    return {name: getattr(report, name, 0) for name in names}
