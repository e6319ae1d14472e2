"""kill -9 at any moment: the store opens, serves nothing wrong, and gc leaves nothing behind."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kache.core.entry import Role
from kache.errors import BlobBrokenError
from kache.store.local import LocalStore, RestoreHow
from tests.support.store import StoreBox, digest_of
from tests.support.store_worker import NAMES, content_of

HERE = Path(__file__).parents[2]


def run_and_kill(root: Path, seeds: list[int], after_s: float) -> None:
    """Let one or several processes work on one store, and kill all."""
    env = {**os.environ, "PYTHONPATH": f"{HERE / 'src'}:{HERE}"}
    command = [sys.executable, "-m", "tests.support.store_worker", str(root)]
    workers = [
        subprocess.Popen([*command, str(seed)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for seed in seeds
    ]
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"ready\n", worker.communicate()[1].decode()
    time.sleep(after_s)
    for worker in workers:
        worker.kill()
    for worker in workers:
        errors = worker.communicate()[1].decode()
        assert worker.returncode == -9, errors


def check(root: Path) -> int:
    """Everything the index names is there and right; after gc nothing else is. How many entries there were."""
    contents = {digest_of(content_of(name, role, variant)) for name in NAMES for role in Role for variant in range(3)}
    box = StoreBox(root)
    connection = sqlite3.connect(box.cache_dir / "store" / "index.db")
    try:
        keys = [row[0] for row in connection.execute("SELECT key FROM entries")]
        rows = {row[0] for row in connection.execute("SELECT digest FROM blobs")}
        named = {row[0] for row in connection.execute("SELECT digest FROM entry_blobs")}
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    finally:
        connection.close()
    assert named <= rows
    # No power was lost, so no row may lack its blob.
    assert rows <= box.blobs_on_disk()
    for key in keys:
        entry = box.store.entry(key)
        assert entry is not None
        assert [memo for memo in box.store.memos(entry.weak_key) if memo.key == key]
        for artifact in entry.artifacts:
            target = box.target / "checked"
            box.store.restore(artifact, os.fsencode(target), mode=0o644, how=RestoreHow.PRIVATE)
            assert digest_of(target.read_bytes()) == artifact.digest
    report = box.store.gc(10**12)
    assert report.kept_entries == len(keys)
    assert box.blobs_on_disk() == named
    assert box.store.allocated_bytes() == report.kept_bytes
    assert list((box.cache_dir / "store" / "tmp").iterdir()) == []
    for path in root.glob("target*/.kache-*"):
        # A kill between the two steps of a replacement leaves the new file's first name, never a part of a file.
        assert digest_of(path.read_bytes()) in contents
        path.unlink()
    box.store.close()
    return len(keys)


@pytest.mark.parametrize("workers", [1, 3])
def test_kill_at_any_moment(tmp_path: Path, workers: int) -> None:
    chance = random.Random(workers)
    seen = 0
    for number in range(12):
        run_and_kill(tmp_path, [number * 10 + worker for worker in range(workers)], chance.uniform(0.0, 0.15))
        seen += check(tmp_path)
    assert seen > 20


def test_blobs_lost_with_the_power_are_misses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files written and not synced can come back empty or as zeros, of the right size and date."""
    box = StoreBox(tmp_path)
    entries = [box.put(f"crate{number}") for number in range(6)]
    box.store.close()
    for number, entry in enumerate(entries[:3]):
        blob = box.blob(entry.artifacts[0].digest)
        date = blob.stat()
        blob.write_bytes(b"\0" * date.st_size if number else b"")
        os.utime(blob, ns=(date.st_atime_ns, date.st_mtime_ns))
    with sqlite3.connect(box.cache_dir / "store" / "index.db") as connection:
        # The lost content leaves no trace in stat either.
        for path in (box.cache_dir / "store" / "blobs").glob("*/*"):
            found = path.stat()
            connection.execute(
                "UPDATE blobs SET size = ?, mtime_ns = ?, ctime_ns = ? WHERE digest = ?",
                (found.st_size, found.st_mtime_ns, found.st_ctime_ns, bytes.fromhex(path.name)),
            )
    connection.close()
    monkeypatch.setattr("kache.util.processes.boot_id", lambda: "next")
    store = LocalStore.open(box.cache_dir)
    for number, entry in enumerate(entries):
        target = os.fsencode(box.target / f"out{number}")
        if number < 3:
            with pytest.raises(BlobBrokenError):
                store.restore(entry.artifacts[0], target, mode=0o644, how=RestoreHow.SHARED)
        else:
            store.restore(entry.artifacts[0], target, mode=0o644, how=RestoreHow.SHARED)
    assert store.entry_count() == 3
    store.close()
