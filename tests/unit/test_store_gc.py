"""Eviction and purge on a real store: what goes, what stays, and what is said about it."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.core.entry import Entry, Event, InputKind, InputMemo, MemoInput, Role
from kache.store import event_log, file_digests
from kache.util import processes
from tests.support.store import StoreBox, digest_of, entry_of, memo_of

BLOB = 40_960
"""Bytes of a test's blob: a whole number of blocks, so that allocated is the same."""


@pytest.fixture
def box(tmp_path: Path) -> Iterator[StoreBox]:
    box = StoreBox(tmp_path)
    yield box
    box.store.close()


def put(box: StoreBox, name: str, *, days_ago: float = 0, shared: bytes | None = None) -> Entry:
    contents = {Role.RLIB: name.encode().ljust(BLOB, b".")}
    if shared is not None:
        contents[Role.RMETA] = shared
    entry = box.put(name, contents)
    if days_ago:
        sql(box, "UPDATE entries SET used_ns = ? WHERE key = ?", time.time_ns() - int(days_ago * 86_400e9), entry.key)
    return entry


def sql(box: StoreBox, query: str, *values: object) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(box.cache_dir / "store" / "index.db", isolation_level=None)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def names(box: StoreBox) -> set[str]:
    return {str(row[0]) for row in sql(box, "SELECT crate_name FROM entries")}


def test_the_longest_unused_goes_with_its_blob_and_memo(box: StoreBox) -> None:
    old, new = put(box, "old", days_ago=30), put(box, "new", days_ago=1)
    assert box.store.entry(old.key) is not None
    report = box.store.gc(BLOB)
    assert (report.evicted_entries, report.freed_bytes) == (1, BLOB)
    assert (report.kept_entries, report.kept_bytes) == (1, BLOB)
    assert names(box) == {"new"}
    assert box.blobs_on_disk() == {new.artifacts[0].digest}
    assert box.store.entry(old.key) is None and box.store.memos(old.weak_key) == []
    assert box.store.allocated_bytes() == BLOB


def test_a_dry_run_says_the_same_and_changes_nothing(box: StoreBox) -> None:
    for number in range(5):
        put(box, f"crate{number}", days_ago=number + 1, shared=b"shared".ljust(BLOB))
    for budget in (0, BLOB, 3 * BLOB, 10 * BLOB):
        would = box.store.gc(budget, dry_run=True)
        assert len(names(box)) == 5 and len(box.blobs_on_disk()) == 6
        assert would.freed_bytes + would.kept_bytes == 6 * BLOB
        assert would.evicted_entries + would.kept_entries == 5
    would = box.store.gc(3 * BLOB, dry_run=True)
    assert box.store.gc(3 * BLOB) == would


def test_a_shared_blob_goes_with_the_last_entry(box: StoreBox) -> None:
    shared = b"shared".ljust(BLOB)
    put(box, "one", days_ago=9, shared=shared)
    put(box, "two", days_ago=8, shared=shared)
    assert box.store.gc(2 * BLOB).freed_bytes == BLOB
    assert digest_of(shared) in box.blobs_on_disk()
    assert box.store.gc(0).freed_bytes == 2 * BLOB
    assert box.blobs_on_disk() == set()


def test_age_alone(box: StoreBox) -> None:
    put(box, "old", days_ago=40)
    put(box, "new", days_ago=20)
    assert box.store.gc(10**12, max_age_s=30 * 86_400.0).evicted_entries == 1
    assert names(box) == {"new"}


def test_what_a_living_build_uses_stays(box: StoreBox) -> None:
    put(box, "before", days_ago=1)
    put(box, "during")
    us = f"{os.getpid()}-{processes.start_ticks(os.getpid())}"
    box.store.add_events([Event(at_ns=time.time_ns(), build=us, outcome="miss")])
    assert box.store.gc(0).evicted_entries == 1
    assert names(box) == {"during"}
    sql(box, "UPDATE builds SET id = ?", f"{os.getpid()}-1")  # the pid is another process by now
    assert box.store.gc(0).evicted_entries == 1


def test_an_entry_used_after_the_plan_was_made_stays(box: StoreBox, monkeypatch: pytest.MonkeyPatch) -> None:
    from kache.store import collect

    entry = put(box, "used", days_ago=1)
    real = collect._plan

    def plan_then_use(*words: object) -> object:
        made = real(*words)  # type: ignore[arg-type]
        box.store.add_events([Event(at_ns=time.time_ns(), build="1-1", outcome="local_hit", entry_key=entry.key)])
        return made

    monkeypatch.setattr(collect, "_plan", plan_then_use)
    assert box.store.gc(0).evicted_entries == 0
    assert names(box) == {"used"}


def test_leftovers_of_crashes_go(box: StoreBox) -> None:
    entry = put(box, "kept")
    leftover = box.blob(digest_of("nobody"))
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"x" * 4096)
    odd = leftover.with_name("README")
    odd.write_text("not ours")
    assert box.store.gc(10**12).freed_bytes == 4096
    assert box.blob(entry.artifacts[0].digest).exists() and odd.exists() and not leftover.exists()


def test_a_blob_with_a_row_is_never_removed(box: StoreBox) -> None:
    """Between two transactions of a collection another process may have stored the same blob again."""
    from kache.store.recording import remove_unreferenced

    entry = put(box, "kept")
    digest = entry.artifacts[0].digest
    assert remove_unreferenced(box.store._index, box.store._blobs, [digest, digest_of("x")]) == 0
    assert box.blob(digest).exists()


def test_purge_of_one_crate_and_of_all(box: StoreBox) -> None:
    shared = b"shared".ljust(BLOB)
    put(box, "serde", shared=shared)
    put(box, "other", shared=shared)
    box.store.add_events([Event(at_ns=1, build="1-1", outcome="miss")])
    report = box.store.purge("serde")
    assert (report.evicted_entries, report.freed_bytes, report.kept_entries) == (1, BLOB, 1)
    report = box.store.purge()
    assert (report.evicted_entries, report.freed_bytes, report.kept_entries, report.kept_bytes) == (1, 2 * BLOB, 0, 0)
    assert box.blobs_on_disk() == set() and box.store.allocated_bytes() == 0
    assert sql(box, "SELECT count(*) FROM events") == [(1,)]
    for table in ("entries", "entry_blobs", "blobs", "memos", "inputs"):
        assert sql(box, f"SELECT count(*) FROM {table}") == [(0,)], table


def test_the_other_tables_stay_within_bounds(box: StoreBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_log, "MAX_EVENTS", 30)
    monkeypatch.setattr(event_log, "MAX_EVENTS_WITH_INPUTS", 10)
    monkeypatch.setattr(file_digests, "MAX_ROWS", 5)
    for number in range(50):
        box.store.add_events([Event(at_ns=number, build=f"{number}-1", outcome="miss", inputs=b"body")])
    from kache.core.entry import FileIdentity

    box.store.save_file_digests({FileIdentity(1, n, 1, 1, 1): b"d" * 32 for n in range(9)})
    box.store.gc(10**12)
    assert sql(box, "SELECT count(*), min(at_ns), count(inputs) FROM events") == [(30, 20, 10)]
    assert sql(box, "SELECT count(*), min(last_ns) FROM builds") == [(30, 20)]
    assert len(box.store.load_file_digests()) == 5


def fill(box: StoreBox, count: int) -> None:
    """Entries without files, as many as are asked for, written in one go."""
    base = box.put("base", {Role.RLIB: b"base" * 9999})
    body = sql(box, "SELECT body FROM entries")[0][0]
    connection = sqlite3.connect(box.cache_dir / "store" / "index.db")
    now_ns = time.time_ns()
    for number in range(count):
        key = number.to_bytes(32, "big")
        connection.execute(
            "INSERT INTO entries VALUES (?, ?, 'many', 'lib', ?, ?, 0, 100, 1000, ?)",
            (key, key, now_ns, now_ns - number * 10**9, body),
        )
        connection.execute("INSERT INTO memos VALUES (?, ?, 0, 1, NULL, NULL, NULL)", (key, key))
        for part in (1, 2, 3):
            digest = bytes([part]) + key[1:]
            connection.execute("INSERT INTO blobs VALUES (?, 1000, 4096, 0, 0, '')", (digest,))
            connection.execute("INSERT INTO entry_blobs VALUES (?, ?)", (key, digest))
    connection.commit()
    connection.close()
    assert base is not None


def test_writers_get_in_between_the_batches(box: StoreBox) -> None:
    fill(box, 5_000)
    waits: list[float] = []
    from kache.store.local import LocalStore

    other = LocalStore.open(box.cache_dir)
    collecting = threading.Thread(target=lambda: box.store.gc(0))
    collecting.start()
    while collecting.is_alive():
        started = time.monotonic()
        other.add_events([Event(at_ns=time.time_ns(), build="1-1", outcome="miss")])
        waits.append(time.monotonic() - started)
        time.sleep(0.002)
    other.close()
    assert len(waits) > 3
    assert box.store.entry_count() == 0


def test_a_purge_gives_the_disk_back(box: StoreBox) -> None:
    fill(box, 5_000)
    box.reopen()
    index = box.cache_dir / "store" / "index.db"
    before = index.stat().st_size
    assert box.store.purge().evicted_entries == 5_001
    assert index.stat().st_size < before / 2
    assert box.store.entry_count() == 0


def test_memos_whose_lists_are_gone_are_no_memos(box: StoreBox) -> None:
    entry = entry_of("x", ())
    box.store.commit(entry, InputMemo(entry.weak_key, entry.key, (MemoInput(InputKind.FILE, b"a", b"b"),)), [])
    sql(box, "DELETE FROM inputs")
    assert box.reopen().memos(entry.weak_key) == []
    box.store.commit(entry, memo_of(entry), [])
    assert box.store.memos(entry.weak_key) == [memo_of(entry)]
