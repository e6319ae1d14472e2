"""What is recorded comes back, after a restart too; what another process changed is seen."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.core.entry import Event, FileIdentity, InputKind, InputMemo, MemoInput, Role
from kache.errors import CacheDirError, StoreCorruptError, StoreError, StoreVersionError
from kache.store.local import LocalStore
from kache.store.migrations import SCHEMA_VERSION
from tests.support.store import StoreBox, digest_of, entry_of, memo_of


@pytest.fixture
def box(tmp_path: Path) -> Iterator[StoreBox]:
    box = StoreBox(tmp_path)
    yield box
    box.store.close()


def sql(box: StoreBox, query: str, *values: object) -> list[tuple[object, ...]]:
    """Behind the store's back, as another process."""
    connection = sqlite3.connect(box.cache_dir / "store" / "index.db", isolation_level=None)
    try:
        return connection.execute(query, values).fetchall()
    finally:
        connection.close()


def test_an_entry_and_its_memo_come_back(box: StoreBox) -> None:
    entry = box.put("serde", {Role.RLIB: b"r" * 9000, Role.RMETA: b"m" * 900})
    for store in (box.store, box.reopen()):
        assert store.entry(entry.key) == entry
        assert store.memos(entry.weak_key) == [memo_of(entry)]
        assert store.links(entry.artifacts[0].digest) == entry.links
        assert store.entry_count() == 1
        assert store.allocated_bytes() == sum(path.stat().st_blocks * 512 for path in blob_paths(box))
    assert box.temps() == []


def blob_paths(box: StoreBox) -> list[Path]:
    return [box.blob(digest) for digest in box.blobs_on_disk()]


def test_unknown_keys_are_no_entry(box: StoreBox) -> None:
    for _ in range(2):
        assert box.store.entry(digest_of("x")) is None
        assert box.store.memos(digest_of("x")) == []
        assert box.store.links(digest_of("x")) is None


def test_a_key_asked_for_before_it_is_recorded(box: StoreBox) -> None:
    entry = entry_of("serde", ())
    assert box.store.entry(entry.key) is None and box.store.memos(entry.weak_key) == []
    assert box.put("serde").key == entry.key
    assert box.store.entry(entry.key) is not None and box.store.memos(entry.weak_key) != []


def test_an_upload_sees_a_commit_that_memory_has_not_learnt_of(box: StoreBox) -> None:
    """Guards the queue: its row is there with the commit, and whoever takes it must find the entry."""
    known = box.put("serde")
    entry = entry_of("newer", known.artifacts)
    assert box.store.entry(entry.key) is None and box.store.memos(entry.weak_key) == []
    other = LocalStore.open(box.cache_dir)
    other.commit(entry, memo_of(entry), [])
    other.close()
    assert box.store.entry(entry.key) is None and box.store.memos(entry.weak_key) == []
    assert box.store.committed(entry.key) == (entry, memo_of(entry))
    assert box.store.committed(digest_of("x")) is None


def test_lists_of_inputs_are_not_confused_when_another_process_reuses_their_ids(box: StoreBox) -> None:
    """Guards purge beside a daemon: rows get numbers that were others', and the daemon remembers the others' lists."""
    one, two = entry_of("one", ()), entry_of("two", ())
    box.store.commit(one, memo_of(one, "a.rs"), [])
    assert box.store.memos(one.weak_key) == [memo_of(one, "a.rs")]
    other = LocalStore.open(box.cache_dir)
    other.purge()
    other.commit(two, memo_of(two, "b.rs"), [])
    other.close()
    assert box.store.memos(two.weak_key) == [memo_of(two, "b.rs")]
    assert box.store.committed(two.key) == (two, memo_of(two, "b.rs"))


def test_the_last_writer_of_a_key_wins_and_hits_are_kept(box: StoreBox) -> None:
    first = box.put("serde", {Role.RLIB: b"one" * 1000})
    box.store.add_events([Event(at_ns=time.time_ns(), build="1-1", outcome="local_hit", entry_key=first.key)])
    second = box.put("serde", {Role.RLIB: b"two" * 1000})
    assert box.store.entry(first.key) == second
    assert sql(box, "SELECT hits FROM entries") == [(1,)]
    assert box.store.gc(10**9).kept_entries == 1
    assert box.blobs_on_disk() == {second.artifacts[0].digest}


def test_memos_are_given_last_used_first_and_sixteen_are_kept(box: StoreBox) -> None:
    base = box.put("serde")
    keys = []
    for number in range(20):
        entry = entry_of(f"serde{number}", base.artifacts)
        memo = InputMemo(base.weak_key, entry.key, (MemoInput(InputKind.FILE, b"a", digest_of(str(number))),))
        box.store.commit(entry, memo, [])
        keys.append(entry.key)
    found = [memo.key for memo in box.store.memos(base.weak_key)]
    assert len(found) == 16 and set(found) <= set(keys)
    box.store.add_events([Event(at_ns=time.time_ns(), build="1-1", outcome="local_hit", entry_key=found[-1])])
    assert box.reopen().memos(base.weak_key)[0].key == found[-1]


def test_lists_of_inputs_are_kept_once(box: StoreBox) -> None:
    base = box.put("serde")
    files = tuple(MemoInput(InputKind.FILE, b"src/%d.rs" % n, digest_of(str(n))) for n in range(9))
    for number in range(3):
        entry = entry_of(f"v{number}", base.artifacts)
        env = MemoInput(InputKind.ENV, b"PROFILE", digest_of(str(number)))
        # Interleaved: the order of a closure is part of its key and must come back.
        memo = InputMemo(entry.weak_key, entry.key, (*files[:4], env, *files[4:]))
        box.store.commit(entry, memo, [])
        assert box.reopen().memos(entry.weak_key) == [memo]
    assert sql(box, "SELECT count(*) FROM inputs") == [(2 + 1 + 3,)]


def test_what_another_process_records_is_seen_after_refresh(box: StoreBox) -> None:
    assert box.store.refresh() is False
    entry = entry_of("serde", ())
    assert box.store.entry(entry.key) is None and box.store.memos(entry.weak_key) == []
    other = LocalStore.open(box.cache_dir)
    other.commit(entry, memo_of(entry), [])
    other.close()
    assert box.store.entry(entry.key) is None
    assert box.store.refresh() is True
    assert box.store.entry(entry.key) == entry
    assert box.store.memos(entry.weak_key) == [memo_of(entry)]
    assert box.store.refresh() is False


def test_our_own_writes_are_no_news(box: StoreBox) -> None:
    box.store.entry(digest_of("x"))
    box.put("serde")
    assert box.store.refresh() is False


def test_an_artifact_that_was_not_staged_is_refused(box: StoreBox) -> None:
    entry = box.put("serde")
    box.store.purge()
    with pytest.raises(StoreError, match="cannot store"):
        box.store.commit(entry, memo_of(entry), [])
    assert box.store.entry_count() == 0


def test_a_body_of_another_version_is_a_miss(box: StoreBox) -> None:
    entry = box.put("serde")
    sql(box, "UPDATE entries SET body = x'ff00'")
    assert box.reopen().entry(entry.key) is None


def test_events_builds_and_hits(box: StoreBox) -> None:
    entry = box.put("serde")
    late = time.time_ns() + 10**12
    box.store.add_events(
        [
            Event(at_ns=20, build="9-9", outcome="miss", crate_name="serde", build_root="/ws", build_command="cargo b"),
            Event(at_ns=late, build="9-9", outcome="local_hit", entry_key=entry.key, linked_bytes=7, reason=""),
            Event(at_ns=30, build="9-9", outcome="local_hit", entry_key=entry.key),
        ]
    )
    assert sql(box, "SELECT started_ns, last_ns FROM builds") == [(20, late)]
    assert sql(box, "SELECT hits, used_ns FROM entries") == [(2, late)]
    assert sql(box, "SELECT count(*), sum(linked_bytes), count(reason) FROM events") == [(3, 7, 0)]


def test_the_stat_memo_comes_back(box: StoreBox) -> None:
    high = FileIdentity((1 << 64) - 3, (1 << 63) + 5, 10, 20, 30)
    low = FileIdentity(1, 2, 3, 4, 5)
    box.store.save_file_digests({high: b"h" * 32, low: b"l" * 32})
    box.store.save_file_digests({low._replace(ctime_ns=6): b"L" * 32})
    store = box.reopen()
    assert store.load_file_digests() == {high: b"h" * 32, low._replace(ctime_ns=6): b"L" * 32}
    assert store.file_digest(high) == b"h" * 32
    assert store.file_digest(low) is None


def test_a_newer_schema_is_left_alone(box: StoreBox) -> None:
    box.store.close()
    sql(box, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    with pytest.raises(StoreVersionError):
        LocalStore.open(box.cache_dir)
    sql(box, f"PRAGMA user_version = {SCHEMA_VERSION}")
    box.store = LocalStore.open(box.cache_dir)


def test_a_damaged_index_is_kept_aside(box: StoreBox, caplog: pytest.LogCaptureFixture) -> None:
    entry = box.put("serde")
    box.store.close()
    index = box.cache_dir / "store" / "index.db"
    index.write_bytes(b"no database at all\n" * 1000)
    with pytest.raises(StoreCorruptError):
        LocalStore.open(box.cache_dir, create=False)
    with caplog.at_level(logging.WARNING, "kache"):
        box.store = LocalStore.open(box.cache_dir)
    assert "is damaged" in caplog.text
    assert (index.parent / "index.db.corrupt-1").read_bytes().startswith(b"no database")
    assert box.store.entry(entry.key) is None
    assert box.put("serde") == entry
    assert box.store.gc(10**9).kept_entries == 1


def test_damage_met_later_is_healed_by_the_next_open(box: StoreBox) -> None:
    for number in range(200):
        box.put(f"crate{number}")
    box.store.close()
    index = box.cache_dir / "store" / "index.db"
    content = bytearray(index.read_bytes())
    content[8192 * 2 :] = b"\xa5" * (len(content) - 8192 * 2)
    index.write_bytes(content)
    store = LocalStore.open(box.cache_dir)
    with pytest.raises(StoreCorruptError):
        for number in range(200):
            store.entry(digest_of(f"key crate{number}"))
    store.close()
    box.store = LocalStore.open(box.cache_dir)
    assert box.store.entry_count() == 0
    assert (index.parent / "index.db.corrupt-1").exists()
    freed = box.store.gc(10**9)
    assert (freed.freed_bytes > 0, box.blobs_on_disk()) == (True, set())


def test_a_cache_dir_removed_under_us_is_an_error_not_silence(box: StoreBox) -> None:
    box.put("serde")
    (box.cache_dir / "store").rename(box.root / "gone")
    with pytest.raises(StoreError):
        box.store.refresh()
    with pytest.raises(StoreError):
        box.store.stage(box.output("x.rlib", b"x"), share=True)


@pytest.mark.parametrize("create", [True, False])
def test_a_file_in_place_of_the_cache_dir(tmp_path: Path, create: bool) -> None:
    (tmp_path / "cache").touch()
    with pytest.raises(StoreError):
        LocalStore.open(tmp_path / "cache", create=create)


def test_without_create_nothing_is_made(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no store"):
        LocalStore.open(tmp_path / "cache", create=False)
    assert not (tmp_path / "cache").exists()


def test_the_cache_dir_is_private(box: StoreBox) -> None:
    assert box.cache_dir.stat().st_mode & 0o777 == 0o700
    assert (box.cache_dir / "store" / "index.db").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another owner's directory")
def test_another_owner_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    os.chown(tmp_path / "cache", 12345, 12345)
    with pytest.raises(CacheDirError, match="not ours"):
        LocalStore.open(tmp_path / "cache")


def test_an_unsafe_filesystem_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:35 / {tmp_path} rw - nfs4 server:/home rw\n")
    monkeypatch.setattr("kache.util.filesystem.MOUNTINFO", mounts)
    with pytest.raises(CacheDirError, match="nfs4"):
        LocalStore.open(tmp_path / "cache")
