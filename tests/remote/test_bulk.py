"""Packs of several entries, and many entries fetched at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kache.config.load import load
from kache.engine.transfer.arrivals import Arrivals
from kache.engine.transfer.fetch import Budget, EntryFetch, Fetched
from kache.engine.transfer.remotes import open_one
from kache.store.local import LocalStore
from kache.store.transfers import Transfer
from tests.support.machines import Machines, pushed
from tests.support.projects import everything
from tests.support.sandbox import Sandbox

CRATES = "macros generated generated both app"


def packs(machines: Machines) -> list[Path]:
    root = Path(machines.remote.removeprefix("file://"), "v1/packs")
    return [path for path in root.rglob("*") if path.is_file()]


def keys_of(box: Sandbox) -> list[bytes]:
    """Those a compile asks for, the oldest first."""
    store = LocalStore.open(box.cache_dir, create=False)
    try:
        found = [store.entry(key) for key in reversed(store.entry_keys())]
        return [entry.key for entry in found if entry is not None and entry.unit_kind != "build-script-run"]
    finally:
        store.close()


def fetched(box: Sandbox, keys: Sequence[bytes], budget: Budget) -> tuple[Fetched, list[Transfer]]:
    """What a fetch into a machine's store came to, by the function that plans are carried out with."""
    rows: list[Transfer] = []

    async def in_thread(work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.to_thread(work, *arguments)

    async def run(store: LocalStore) -> Fetched:
        env = box.env()
        remote = open_one(load(env, None), env)
        made: Awaitable[Fetched] = EntryFetch(store, in_thread, Arrivals(), rows.append).fetch_entries(
            remote, keys, budget
        )
        return await made

    store = LocalStore.open(box.cache_dir)
    try:
        return asyncio.run(run(store)), rows
    finally:
        store.close()


@pytest.fixture(params=["directory", "s3"])
def shared(request: pytest.FixtureRequest) -> Machines:
    found: Machines = request.getfixturevalue({"directory": "machines", "s3": "in_s3"}[request.param])
    return found


def test_entries_come_by_their_keys_in_few_requests(shared: Machines) -> None:
    """Guards plans: the entries of a whole build by a request each for their manifests, and one for their pack."""
    writer, reader = shared.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    keys = keys_of(writer)
    made, rows = fetched(reader, [*keys, b"?" * 32], Budget())
    assert (made.wanted, made.arrived, made.absent, made.requests) == (6, 5, 1, 7)
    assert made.keys == set(keys) and sum(row.bytes for row in rows) == made.bytes
    again, _ = fetched(reader, keys, Budget())
    assert (again.here, again.requests) == (5, 0)
    reader.settings["KACHE_LOCAL_ONLY"] = "1"
    second = reader.checkout("b", everything())
    second.build().expect(hits=CRATES, misses=0)
    second.same_bytes_as_plain()


def test_one_wrong_bit_costs_one_entry_of_a_pack(machines: Machines) -> None:
    """Guards trust: each part is verified by itself, and nothing of a wrong one is stored."""
    writer, reader = machines.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    (pack,) = packs(machines)
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.chmod(0o644)
    pack.write_bytes(content)
    made, rows = fetched(reader, keys_of(writer), Budget())
    assert (made.arrived, made.refused) == (4, 1)
    assert sorted(row.outcome for row in rows) == [*["hit"] * 4, "refused"]
    assert not list((reader.cache_dir / "store" / "tmp").iterdir())
    second = reader.checkout("b", everything())
    second.build().expect(misses=1, hits=4)
    second.same_bytes_as_plain()
    verified = writer.data("remote", "verify", "--packs", exit_code=1)
    assert (verified["refused"], verified["done"]) == (1, 4)


@pytest.mark.parametrize("alter", ["gone", "short", "noise"])
def test_a_pack_that_is_not_what_was_signed_gives_nothing(machines: Machines, alter: str) -> None:
    """Guards trust: a pack that was removed, cut or replaced is a miss of each of its entries."""
    writer, reader = machines.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    (pack,) = packs(machines)
    pack.chmod(0o644)
    if alter == "gone":
        pack.unlink()
    else:
        pack.write_bytes(b"x" * (100 if alter == "short" else pack.stat().st_size))
    made, _ = fetched(reader, keys_of(writer), Budget())
    assert made.arrived == 0
    assert made.absent == 5 if alter == "gone" else made.refused == 5
    reader.checkout("b", everything()).build().expect(misses=5, hits=0)


def test_a_budget_is_kept(machines: Machines) -> None:
    """Guards lines that are paid by the byte, and builds that do not wait for ever."""
    writer, reader = machines.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    keys = keys_of(writer)
    made, _ = fetched(reader, keys, Budget(bytes=1000))
    assert (made.arrived, made.left, made.bytes) == (0, 5, 0)
    made, _ = fetched(reader, keys, Budget(seconds=0.0))
    assert (made.arrived, made.left) == (0, 5)
