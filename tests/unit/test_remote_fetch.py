"""Bulk fetches: how packs are cut into requests, and who waits for what is coming."""

from __future__ import annotations

import asyncio

from kache.core.entry import Entry
from kache.engine.transfer.arrivals import Arrivals
from kache.engine.transfer.stretch import STRETCH_BYTES, stretches
from kache.remote.backend import Range
from kache.remote.documents import EntryManifest, Part

PACK, OTHER = b"p" * 32, b"q" * 32
MIB = 1 << 20


def manifest(
    number: int, *, pack: bytes = PACK, offset: int = 0, size: int = MIB, whole: bool = False
) -> EntryManifest:
    key = number.to_bytes(32, "big")
    entry = Entry(key, b"w" * 32, f"c{number}", "lib", 100, (), "", b"", b"", b"", ())
    part = None if whole else Part(offset, size, b"d" * 32)
    return EntryManifest(entry, (), (), pack, 100 * MIB, 0, "", part)


def test_neighbours_come_by_one_request() -> None:
    wanted = [manifest(number, offset=number * MIB) for number in range(4)]
    assert stretches(reversed(wanted)) == [(stretches(wanted)[0])]
    assert stretches(wanted)[0].place == Range(0, 4 * MIB)


def test_what_is_not_wanted_between_two_is_not_read() -> None:
    found = stretches([manifest(0), manifest(1, offset=50 * MIB)])
    assert [stretch.place for stretch in found] == [Range(0, MIB), Range(50 * MIB, MIB)]


def test_a_long_pack_comes_in_parallel() -> None:
    wanted = [manifest(number, offset=number * MIB) for number in range(40)]
    found = stretches(wanted)
    assert len(found) == 5
    assert all(stretch.place is not None and stretch.place.size <= STRETCH_BYTES for stretch in found)
    assert [each for stretch in found for each in stretch.manifests] == wanted


def test_packs_come_in_the_order_of_need_and_those_of_one_entry_whole() -> None:
    found = stretches([manifest(1, pack=OTHER, whole=True), manifest(2), manifest(3, pack=OTHER, whole=True)])
    assert [(stretch.pack, stretch.place is None) for stretch in found] == [(OTHER, True), (OTHER, True), (PACK, False)]


def test_who_needs_an_entry_waits_for_it_and_is_told_once_that_it_was_brought() -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        first, second = manifest(1), manifest(2, offset=MIB)
        arrivals.begin([first, second])
        waiting = asyncio.ensure_future(arrivals.wait(first.entry.key, 60))
        await asyncio.sleep(0)
        arrivals.ended(first.entry.key, had=True)
        assert await waiting
        arrivals.ended(second.entry.key, had=False)
        assert not await arrivals.wait(second.entry.key, 60)
        assert [arrivals.take(first.entry.key) for _ in range(2)] == [True, False]
        assert not arrivals.take(second.entry.key)

    asyncio.run(scenario())


def test_an_arrival_is_expected_by_the_rate_so_far() -> None:
    async def scenario() -> None:
        arrivals = Arrivals()
        course = arrivals.begin([manifest(1), manifest(2, offset=MIB)])
        assert arrivals.expected_s((2).to_bytes(32, "big")) == 0.0  # nothing is known yet
        course.arrived_bytes = MIB
        first, second = (arrivals.expected_s(number.to_bytes(32, "big")) for number in (1, 2))
        assert first == 0.0 and second is not None and second > 0
        assert arrivals.expected_s(b"?" * 32) is None

    asyncio.run(scenario())


def test_manifests_of_one_weak_key_are_known_together() -> None:
    arrivals = Arrivals()
    arrivals.learn([manifest(1), manifest(2)])
    arrivals.learn([manifest(3), manifest(1)])
    assert [each.entry.crate_name for each in arrivals.under(b"w" * 32)] == ["c3", "c1", "c2"]
