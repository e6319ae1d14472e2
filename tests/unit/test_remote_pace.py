"""What is fetched keeps within its rate, and a plan's tariff is what the remote has shown."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from kache.config.remote import RemotePlace, parse_place
from kache.engine.prefetch.planning import LEAST_BYTES_PER_S, MOST_ANSWER_S, tariff_of
from kache.engine.transfer.remotes import Remote
from kache.planner.plan import Tariff
from kache.remote.backend import IN_THE_BACKGROUND, Backend
from kache.remote.pace import Pace
from kache.remote.trust import Trusted

SIZE = 1 << 20


@pytest.fixture
def place(tmp_path: Path) -> RemotePlace:
    (tmp_path / "object").write_bytes(bytes(SIZE))
    return parse_place(f"file://{tmp_path}")


def test_two_clients_of_one_line_share_its_rate(place: RemotePlace) -> None:
    """Guards the bound: twice a megabyte at four a second cannot come in less than what that takes, but for a piece."""
    pace = Pace(4 * SIZE)

    async def both() -> list[bytes | None]:
        clients = [Backend(place, {}, IN_THE_BACKGROUND, pace) for _ in range(2)]
        return await asyncio.gather(*(client.get("object", SIZE) for client in clients))

    started = time.monotonic()
    assert [len(found or b"") for found in asyncio.run(both())] == [SIZE, SIZE]
    assert time.monotonic() - started >= 0.5


def remote_at(place: RemotePlace, download_rate: int = 0) -> Remote:
    client = Backend(place, {}, IN_THE_BACKGROUND)
    return Remote(place, client, client, Trusted([]), None, download_rate=download_rate)


def test_a_stranger_is_taken_for_what_most_are(place: RemotePlace) -> None:
    assert tariff_of(remote_at(place)) == Tariff(at_once=16)


def test_the_tariff_is_what_was_shown(place: RemotePlace) -> None:
    remote = remote_at(place)
    remote.speed.answered(0.2)
    remote.speed.carried(30_000_000, 2.0)
    found = tariff_of(remote)
    assert (found.request_s, found.bytes_per_s) == (0.2, 15e6)
    remote.speed.carried(1000, 60.0)  # too little to tell
    assert tariff_of(remote).bytes_per_s == 15e6


def test_one_bad_minute_ends_no_plans(place: RemotePlace) -> None:
    remote = remote_at(place)
    remote.speed.answered(60.0)
    remote.speed.carried(8_000_000, 600.0)
    found = tariff_of(remote)
    assert (found.request_s, found.bytes_per_s) == (MOST_ANSWER_S, LEAST_BYTES_PER_S)


def test_no_plan_counts_on_more_than_may_be_fetched(place: RemotePlace) -> None:
    assert tariff_of(remote_at(place, download_rate=2_000_000)).bytes_per_s == 2_000_000
