"""What is known of builds that were, in the form that plans are made from. Pure.

A build of 2,000 units has nearly the same units as the one before it. So each distinct unit is kept once, with one bit
for every record it is in.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kache.core.digest import Digest
from kache.core.usage import BuildRecord, Intent, UnitUse

MAX_RECORDS = 64
MAX_OF_SHAPE = 8
"""Records of builds of one kind: the newest say what the next will be like."""
Shape = tuple[bytes, bytes, str, str, tuple[str, ...], str, bool, str, bool]


@dataclass(slots=True)
class KnownUnit:
    """A distinct unit.

    Attributes:
        use: as the newest record has it.
        waits: keys of the units it was compiled against.
        mask: a bit for each record it is in.
    """

    use: UnitUse
    waits: tuple[Digest, ...]
    mask: int

    @property
    def slot(self) -> tuple[str, str, bytes]:
        """What it is a version of."""
        return self.use.crate_name, self.use.unit_kind, self.use.origin


@dataclass(frozen=True, slots=True)
class KnownRecord:
    """A record without its units.

    Attributes:
        id, intent, name, is_whole: as in the record.
        number: records are numbered as they come; clocks of several machines disagree.
        bit: its place in the masks.
    """

    id: Digest
    intent: Intent
    name: str
    is_whole: bool
    number: int
    bit: int


class Knowledge:
    """Records added so far, at most `MAX_RECORDS`: of each kind of build the newest `MAX_OF_SHAPE`.

    Args:
        records: the oldest first.
    """

    def __init__(self, records: Iterable[BuildRecord] = ()) -> None:
        self.units: dict[Digest, KnownUnit] = {}
        self.records: dict[int, KnownRecord] = {}
        self._number = 0
        self._order: list[Digest] | None = None
        for record in records:
            self.add(record)

    def __len__(self) -> int:
        return len(self.records)

    @property
    def order(self) -> list[Digest]:
        """All units, each behind those it waits for; of those that wait in a circle some come first."""
        if self._order is None:
            self._order = _below_first(self.units)
        return self._order

    def add(self, record: BuildRecord) -> None:
        """Add one; the same build made again counts as the newest."""
        self._order = None
        known = next((each for each in self.records.values() if each.id == record.id), None)
        if known is not None:
            self._forget(known)
        self._make_room(shape_of(record.intent, is_whole=record.is_whole))
        bit = next(at for at in range(MAX_RECORDS) if at not in self.records)
        self._number += 1
        self.records[bit] = KnownRecord(record.id, record.intent, record.name, record.is_whole, self._number, bit)
        keys = [use.key for use in record.units]
        for use in record.units:
            waits = tuple(keys[at] for at in use.waits)
            unit = self.units.get(use.key)
            if unit is None:
                self.units[use.key] = KnownUnit(use, waits, 1 << bit)
            else:
                unit.use, unit.mask = use, unit.mask | 1 << bit
                if len(waits) > len(unit.waits):
                    unit.waits = waits

    def _make_room(self, shape: Shape) -> None:
        alike = [each for each in self.records.values() if shape_of(each.intent, is_whole=each.is_whole) == shape]
        if len(alike) >= MAX_OF_SHAPE:
            self._forget(min(alike, key=lambda each: each.number))
        elif len(self.records) >= MAX_RECORDS:
            self._forget(min(self.records.values(), key=lambda each: each.number))

    def _forget(self, record: KnownRecord) -> None:
        del self.records[record.bit]
        rest = ~(1 << record.bit)
        for key in [key for key, unit in self.units.items() if unit.mask >> record.bit & 1]:
            self.units[key].mask &= rest
            if not self.units[key].mask:
                del self.units[key]


def _below_first(units: dict[Digest, KnownUnit]) -> list[Digest]:
    """Without recursion, since a chain may be long."""
    done: dict[Digest, None] = {}
    under_way: set[Digest] = set()
    for start in units:
        stack = [start]
        while stack:
            key = stack[-1]
            open_ = [] if key in done else [other for other in units[key].waits if other in units and other not in done]
            if open_ and key not in under_way:
                under_way.add(key)
                stack.extend(open_)
                continue
            stack.pop()
            done.setdefault(key)
    return list(done)


def shape_of(intent: Intent, *, is_whole: bool) -> Shape:
    """What makes two builds want the same kinds of units."""
    return (
        intent.workspace,
        intent.toolchain,
        intent.target,
        intent.profile,
        intent.features,
        intent.command,
        intent.takes_all,
        intent.job,
        is_whole,
    )
