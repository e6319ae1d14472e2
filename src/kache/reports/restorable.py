"""What the store could put back into a target dir."""

from __future__ import annotations

import sqlite3


def names_and_sizes(connection: sqlite3.Connection | None) -> frozenset[tuple[str, int]]:
    """File name and size of every artifact: a name carries cargo's hash of package, profile and features."""
    if connection is None:
        return frozenset()
    from kache.store.entries import decode

    entries = (decode(row[0]) for row in connection.execute("SELECT body FROM entries"))
    return frozenset((artifact.name, artifact.size) for entry in entries if entry for artifact in entry.artifacts)
