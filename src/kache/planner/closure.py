"""Can a unit still be what it was, with everything it was compiled against? Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kache.core.digest import Digest
from kache.core.usage import HOST_KINDS, UnitUse
from kache.planner.knowledge import KnownUnit


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


def state_of_all(units: Mapping[Digest, KnownUnit], changes: Changes) -> dict[Digest, bool | None]:
    """For each unit: True if it and all below it are as they were, False if something is not, None if unknown.

    Without recursion, since a chain may be long. Records that go round in circles are somebody's lie: False.
    """
    found: dict[Digest, bool | None] = {}
    under_way: set[Digest] = set()
    for start in units:
        stack = [start]
        while stack:
            key = stack[-1]
            if key in found:
                stack.pop()
                continue
            below = [other for other in units[key].waits if other in units]
            open_ = [other for other in below if other not in found]
            if open_ and key not in under_way:
                under_way.add(key)
                stack.extend(open_)
                continue
            stack.pop()
            under_way.discard(key)
            found[key] = _joined([changes.of(units[key].use), *(found.get(other, False) for other in below)])
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


def _joined(states: list[bool | None]) -> bool | None:
    if False in states:
        return False
    return None if None in states else True
