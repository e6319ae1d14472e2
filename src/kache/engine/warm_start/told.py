"""What came of a warm start, as events tell it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from kache.core.outcome import Outcome
from kache.engine.record import label
from kache.engine.warm_start.place import Placed

_KINDS = (("run-build-script-", "build-script-run"), ("build-script-", "build-script"))
"""Beginnings of cargo's names for units whose kind has a hyphen in it."""


def told(placed: Placed, elapsed_us: int) -> Iterator[tuple[Outcome, dict[str, Any]]]:
    """One event a unit, placed or not: its outcome, and further fields of `Event`.

    The first one placed carries the time and the bytes of all.
    """
    carried = {
        "linked_bytes": placed.linked_bytes,
        "cloned_bytes": placed.cloned_bytes,
        "copied_bytes": placed.copied_bytes,
        "elapsed_us": elapsed_us,
    }
    for unit in placed.units:
        known = {"compile_ms": unit.compile_ms, "entry_key": unit.entry_key or None}
        yield Outcome.SEEDED, {**_named(*unit.place), **known, **carried}
        carried = {"elapsed_us": 0}
    for place, left in placed.left_out.items():
        inputs = label(left.what) if left.what else None
        yield Outcome.UNSEEDED, {**_named(*place), "reason": left.reason, "inputs": inputs, "elapsed_us": 0}


def _named(directory: str, stem: str) -> dict[str, str]:
    """A unit as events call it: its crate, and what kind of unit it is."""
    name = os.path.basename(directory).rpartition("-")[0].replace("-", "_")
    kind = next((kind for prefix, kind in _KINDS if stem.startswith(prefix)), stem.partition("-")[0])
    return {"crate_name": name, "unit_kind": kind}
