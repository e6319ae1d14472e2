"""The filesystem below the cache dir: SQLite's WAL needs shared memory that network filesystems do not give."""

from __future__ import annotations

import os
from pathlib import Path

from kache.setup.disk import nearest_existing
from kache.setup.finding import FAIL, OK, SKIP, Finding, Surroundings
from kache.util.filesystem import MOUNTINFO, filesystem_of, is_unsafe

__all__ = ["check", "filesystem_of", "is_unsafe"]


def check(around: Surroundings) -> list[Finding]:
    """Name the filesystem; fail on those where two writers can damage the index."""
    directory = Path(os.path.realpath(nearest_existing(around.config.cache_dir)))
    try:
        table = MOUNTINFO.read_text(errors="surrogateescape")
    except OSError:
        return [Finding(SKIP, "this system does not list its mounts")]
    kind = filesystem_of(directory, table)
    if is_unsafe(kind):
        why = f"{kind} gives SQLite's WAL no shared memory; builds pass through uncached"
        return [Finding(FAIL, f"the cache dir is on {kind}", why, "set KACHE_CACHE_DIR to a local disk")]
    return [Finding(OK, f"the cache dir is on {kind or 'an unknown filesystem'}")]
