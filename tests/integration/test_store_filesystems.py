"""The store on real filesystems: with reflinks, without, across two, full and read-only."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from kache.core.entry import Artifact, Entry, Event, Role
from kache.errors import CacheDirError, StoreError
from kache.store.local import LocalStore, Restored, RestoreHow
from kache.util import copying
from tests.support.cli import CliBox
from tests.support.filesystems import mounted, read_only, small_tmpfs
from tests.support.store import StoreBox, digest_of, entry_of, memo_of

SIZE = 3_000_000
REFLINKS = ["xfs", "btrfs"]


@pytest.fixture
def point(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # One loop device, and so one st_dev, is ext4 in one test and XFS in the next.
    monkeypatch.setattr(copying, "_refused", set())
    with mounted(request.param, tmp_path) as found:
        yield found


def restored(box: StoreBox, artifact: Artifact, name: str, how: RestoreHow) -> tuple[Path, Restored]:
    path = box.target / name
    mode = 0o755 if artifact.executable else 0o644
    done = box.store.restore(artifact, os.fsencode(path), mode=mode, how=how)
    assert path.stat().st_mode & 0o777 == mode
    return path, done


def put(box: StoreBox) -> Entry:
    return box.put("serde", {Role.RLIB: os.urandom(SIZE), Role.LINKED: os.urandom(SIZE)})


def used_bytes(point: Path) -> int:
    os.sync()
    found = os.statvfs(point)
    return (found.f_blocks - found.f_bfree) * found.f_frsize


def shares_extents(path: Path) -> bool:
    """Whether FIEMAP calls the file's extents shared."""
    shown = subprocess.run(["filefrag", "-v", str(path)], capture_output=True, text=True, check=True).stdout
    return "shared" in shown


@pytest.mark.parametrize("point", REFLINKS, indirect=True)
def test_reflinks_share_extents_and_nothing_else(point: Path) -> None:
    box = StoreBox(point)
    try:
        entry = put(box)
        before = used_bytes(point)
        for artifact in entry.artifacts:
            live = box.target / artifact.name
            assert live.stat().st_nlink == 1
            for how in RestoreHow:
                path, done = restored(box, artifact, f"{artifact.name}-{how.value}", how)
                assert done.method == "cloned"
                assert path.stat().st_nlink == 1
                assert shares_extents(path)
                assert path.read_bytes() == live.read_bytes()
                dated_as_blob = path.stat().st_mtime_ns == live.stat().st_mtime_ns
                assert dated_as_blob is (how is RestoreHow.SHARED)
        assert used_bytes(point) - before < SIZE
        # A restored file may be written in place: the blob is another inode.
        restored(box, entry.artifacts[0], "mine", RestoreHow.SHARED)[0].write_bytes(b"changed")
        restored(box, entry.artifacts[0], "again", RestoreHow.SHARED)
    finally:
        box.store.close()


@pytest.mark.parametrize("point", ["ext4"], indirect=True)
def test_ext4_links_what_is_shared_and_copies_the_rest(point: Path) -> None:
    box = StoreBox(point)
    try:
        rlib, executable = put(box).artifacts
        path, done = restored(box, rlib, "one.rlib", RestoreHow.SHARED)
        assert done.method == "linked" and path.samefile(box.blob(rlib.digest))
        assert restored(box, executable, "one", RestoreHow.PRIVATE)[1].method == "copied"
    finally:
        box.store.close()


@pytest.mark.parametrize("point", ["xfs"], indirect=True)
def test_target_on_another_filesystem_is_copied(point: Path, tmp_path: Path) -> None:
    box = StoreBox(tmp_path)
    try:
        rlib = put(box).artifacts[0]
        for how in RestoreHow:
            target = point / how.value
            done = box.store.restore(rlib, os.fsencode(target), mode=0o644, how=how)
            assert done.method == "copied" and digest_of(target.read_bytes()) == rlib.digest
        (point / "live.rlib").write_bytes(b"live" * 1000)
        staged = box.store.stage(os.fsencode(point / "live.rlib"), share=True)
        assert not staged.is_link
        box.store.discard(staged)
        assert [path.name for path in point.iterdir() if path.name.startswith(".kache")] == []
    finally:
        box.store.close()


def test_a_full_disk_is_an_error_and_nothing_stays(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path, 2 * 1024 * 1024) as point:
        box = StoreBox(point)
        kept = box.put("kept", {Role.LINKED: b"k" * 100_000})
        outside = tmp_path / "large"
        outside.write_bytes(os.urandom(4 * 1024 * 1024))
        with pytest.raises(StoreError, match="cannot store"):
            box.store.stage(os.fsencode(outside), share=False)
        assert box.temps() == []
        outside.write_bytes(os.urandom(200_000))
        staged = box.store.stage(os.fsencode(outside), share=False)
        filling = (point / "filling").open("wb")
        with pytest.raises(OSError, match="No space"):
            while True:
                os.write(filling.fileno(), b"\0" * 4096)
        filling.close()
        artifact = Artifact("large", Role.LINKED, staged.digest, staged.size, executable=False)
        entry = entry_of("large", (artifact,))
        failed = False
        # What is left in the log's last pages may take a few more rows.
        for number in range(200):
            try:
                box.store.add_events([Event(at_ns=number, build="1-1", outcome="miss", inputs=os.urandom(4000))])
            except StoreError:
                failed = True
                break
        assert failed
        with pytest.raises(StoreError):
            box.store.commit(entry, memo_of(entry), [staged])
        assert box.temps() == []
        assert box.blobs_on_disk() == {kept.artifacts[0].digest}
        assert box.store.entry(entry.key) is None
        (point / "filling").unlink()
        restored(box, kept.artifacts[0], "back", RestoreHow.PRIVATE)
        box.put("again", {Role.LINKED: b"a" * 1000})
        box.store.close()


@pytest.mark.parametrize("words", [["gc", "--max-size", "5MiB"], ["purge", "--yes"]], ids=" ".join)
def test_a_full_disk_is_freed_by_the_commands_that_free(tmp_path: Path, words: list[str]) -> None:
    """Guards the way out: on a full disk SQLite can open no index, and these commands need it."""
    with small_tmpfs(tmp_path, 32 << 20) as point:
        box = StoreBox(point)
        for number in range(5):
            box.put(f"crate{number}", {Role.LINKED: os.urandom(2 << 20)})
        box.store.close()
        fill_up(point / "filling")
        commands = CliBox(tmp_path)
        env = {"KACHE_CACHE_DIR": str(box.cache_dir), "KACHE_DAEMON": "0"}
        done = commands.run(*words, env=env)
        assert done.returncode == 0, done.stderr
        assert commands.run("list", env=env).returncode == 0
        with closing(LocalStore.open(box.cache_dir)) as store:
            assert store.allocated_bytes() <= 5 << 20
        assert shutil.disk_usage(point).free >= 4 << 20


def fill_up(path: Path) -> None:
    with pytest.raises(OSError, match="No space"), path.open("wb") as filling:
        while True:
            os.write(filling.fileno(), b"\0" * 4096)


def test_no_room_for_a_store_at_all(tmp_path: Path) -> None:
    with small_tmpfs(tmp_path, 64 * 1024) as point:
        with pytest.raises(OSError, match="No space"), (point / "filling").open("wb") as filling:
            while True:
                os.write(filling.fileno(), b"\0" * 4096)
        with pytest.raises(StoreError):
            LocalStore.open(point / "cache")


def test_a_read_only_disk_is_an_error_at_open(tmp_path: Path) -> None:
    box = StoreBox(tmp_path / "there")
    entry = box.put("serde")
    box.store.close()
    with read_only(tmp_path / "there"):
        with pytest.raises(StoreError):
            LocalStore.open(box.cache_dir)
        with pytest.raises(CacheDirError):
            LocalStore.open(tmp_path / "there" / "new")
    box.store = LocalStore.open(box.cache_dir)
    assert box.store.entry(entry.key) == entry
    box.store.close()
