"""Can a unit still be what it was, with everything it was compiled against? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kache.core.digest import Digest
from kache.core.usage import HOST_KINDS, UnitUse
from kache.planner.knowledge import Knowledge, KnownUnit


@dataclass(frozen=True, slots=True)
class Changes:
    """Today's lockfile and sources, to be compared with those of then.

    Attributes:
        packages: ids of the packages in the lockfile; None if it is not known.
        sources: group of sources to its digest; None if they are not known.
    """

    packages: frozenset[bytes] | None = None
    sources: Mapping[bytes, bytes] | None = None

    def of(self, use: UnitUse) -> bool | None:
        """Whether the unit's own package is as it was; None if nobody can say."""
        if not use.origin:
            return None
        if use.source:
            return None if self.sources is None else self.sources.get(use.origin) == use.source
        return None if self.packages is None else use.origin in self.packages


def state_of_all(knowledge: Knowledge, changes: Changes) -> dict[Digest, bool | None]:
    """For each unit: True if it and all below it are as they were, False if something is not, None if unknown.

    Records that go round in circles are somebody's lie: False.
    """
    units = knowledge.units
    found: dict[Digest, bool | None] = {}
    for key in knowledge.order:
        unit = units[key]
        state = changes.of(unit.use)
        if state is not False:
            for other in unit.waits:
                below = found.get(other, False) if other in units else state
                if below is False:
                    state = False
                    break
                state = state if below else None
        found[key] = state
    return found


def host_units(units: Mapping[Digest, KnownUnit]) -> set[Digest]:
    """Proc macros and build scripts, and all they are made of."""
    found: set[Digest] = set()
    stack = [key for key, unit in units.items() if unit.use.unit_kind.startswith(HOST_KINDS)]
    while stack:
        key = stack.pop()
        if key not in found and key in units:
            found.add(key)
            stack.extend(units[key].waits)
    return found
