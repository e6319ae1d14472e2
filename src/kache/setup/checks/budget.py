"""The store's budget against what is in it and what the disk has."""

from __future__ import annotations

import shutil

from kache.errors import StoreError
from kache.reports.database import reading
from kache.reports.render.text import human_bytes
from kache.setup.disk import nearest_existing
from kache.setup.finding import OK, SKIP, WARN, Finding, Surroundings

_SMALL_BYTES = 2 * 1024**3
"""Less than what one mid-sized workspace takes in two profiles: each build evicts what the next asks for."""


def check(around: Surroundings) -> list[Finding]:
    """Compare; a store that is too small looks like one that does not work."""
    budget = around.config.max_size_bytes
    origin = around.config.origins.get("max_size_bytes", "default")
    try:
        with reading(around.config.cache_dir) as connection:
            query = "SELECT coalesce(sum(allocated), 0) FROM blobs"
            held = int(connection.execute(query).fetchone()[0]) if connection else 0
    except StoreError as error:
        return [Finding(SKIP, "the store cannot be read", error.why)]
    if budget < _SMALL_BYTES:
        why = "a build may evict what the next one needs, and then every build is a miss"
        return [Finding(WARN, f"max_size is {human_bytes(budget)} ({origin})", why, "kache config set max_size 10GiB")]
    free = shutil.disk_usage(nearest_existing(around.config.cache_dir)).free
    if budget - held > free:
        what = f"the store may grow by {human_bytes(budget - held)}, and the disk has {human_bytes(free)} free"
        fix = f"kache config set max_size {max((held + free // 2) // 1024**3, 2)}GiB, or free some space"
        return [Finding(WARN, what, "when the disk is full, compiles are no longer stored", fix)]
    if not around.config.gc and held > budget:
        what = f"the store has {human_bytes(held)} of {human_bytes(budget)}, and gc is off"
        return [Finding(WARN, what, "nothing evicts", "kache gc, or kache config set gc on")]
    return [Finding(OK, f"the store has {human_bytes(held)} of {human_bytes(budget)} ({origin})")]
