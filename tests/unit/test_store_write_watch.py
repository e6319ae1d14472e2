"""Blobs whose other names come and go: the kernel says whether anybody wrote to them."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kache.core.entry import Artifact, Role
from kache.errors import BlobBrokenError
from kache.store import write_watch
from kache.store.local import RestoreHow
from kache.store.write_watch import MIN_BYTES, WriteWatch
from kache.util import copying
from tests.support.store import StoreBox

CONTENT = b"an rlib " * MIN_BYTES


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreBox]:
    if sys.platform != "linux" or WriteWatch.start(os.fsencode(tmp_path)) is None:
        pytest.skip("no inotify, or a filesystem whose writes this kernel need not see")
    monkeypatch.setattr(copying, "may_clone", lambda source, target: False)
    box = StoreBox(tmp_path)
    box.store.watch_writes()
    yield box
    box.store.close()


def linked_twice(box: StoreBox, name: str = "serde") -> tuple[Artifact, Path]:
    """A blob with a second and a third name; the path of one of them."""
    artifact = box.put(name, {Role.RLIB: name.encode() + CONTENT}).artifacts[0]
    paths = [box.target / f"{name}-{number}.rlib" for number in range(2)]
    for path in paths:
        box.store.restore(artifact, os.fsencode(path), mode=0o644, how=RestoreHow.SHARED)
    paths[0].unlink()
    return artifact, paths[1]


def with_its_dates(path: Path, write: Callable[[Path], object]) -> None:
    date = path.stat()
    write(path)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))


def overwrite(path: Path) -> None:
    with open(path, "r+b") as file:
        file.write(b"X")


def overwrite_mapped(path: Path) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0] = ord("X")


def test_a_name_less_is_no_reason_to_hash_a_blob_again(box: StoreBox) -> None:
    artifact, _ = linked_twice(box)
    assert box.store.is_checked(artifact.digest)


def test_without_a_watch_it_is(box: StoreBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_watch, "MAX_WATCHES", 0)
    box.store.watch_writes()
    artifact, _ = linked_twice(box)
    assert not box.store.is_checked(artifact.digest)


@pytest.mark.parametrize("write", [overwrite, overwrite_mapped])
def test_a_write_through_another_name_is_found_though_its_dates_were_put_back(
    box: StoreBox, write: Callable[[Path], None]
) -> None:
    artifact, path = linked_twice(box)
    with_its_dates(path, write)
    path.unlink()
    assert not box.store.is_checked(artifact.digest)
    with pytest.raises(BlobBrokenError):
        box.store.restore(artifact, os.fsencode(path), mode=0o644, how=RestoreHow.SHARED)


def test_what_was_written_to_and_is_still_right_is_hashed_once_and_watched_again(box: StoreBox) -> None:
    artifact, path = linked_twice(box)
    with_its_dates(path, lambda path: os.close(os.open(path, os.O_WRONLY)))
    path.unlink()
    assert not box.store.is_checked(artifact.digest)
    for _ in range(2):
        box.store.restore(artifact, os.fsencode(path), mode=0o644, how=RestoreHow.SHARED)
        path.unlink()
        assert box.store.is_checked(artifact.digest)


def test_when_events_are_lost_everything_is_hashed_again(box: StoreBox) -> None:
    artifact, path = linked_twice(box)
    others = [linked_twice(box, name)[1] for name in ("one", "two")]
    for _ in range(int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())):
        for other in others:  # in turn: the kernel folds two equal events into one
            os.close(os.open(other, os.O_WRONLY))
    path.unlink()
    assert not box.store.is_checked(artifact.digest)


def test_the_oldest_watch_is_given_up_for_a_new_one(box: StoreBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(write_watch, "MAX_WATCHES", 1)
    box.store.watch_writes()
    (old, old_path), (new, new_path) = linked_twice(box, "old"), linked_twice(box, "new")
    old_path.unlink()
    new_path.unlink()
    assert not box.store.is_checked(old.digest)
    assert box.store.is_checked(new.digest)
