"""How a blob gets to a target, and that a wrong one never does."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.core.entry import Artifact, FileIdentity, Role
from kache.errors import BlobBrokenError, StoreError
from kache.store.local import Restored, RestoreHow
from kache.util import copying
from tests.support.store import StoreBox

SHARED, PRIVATE = RestoreHow.SHARED, RestoreHow.PRIVATE
CONTENT = b"an rlib's content " * 500


@pytest.fixture
def box(tmp_path: Path) -> Iterator[StoreBox]:
    box = StoreBox(tmp_path)
    yield box
    box.store.close()


@pytest.fixture
def no_reflink(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on ext4, wherever the tests run."""
    monkeypatch.setattr(copying, "clone", lambda source, target: False)
    monkeypatch.setattr(copying, "may_clone", lambda source, target: False)


def rlib(box: StoreBox, content: bytes = CONTENT) -> Artifact:
    return box.put("serde", {Role.RLIB: content}).artifacts[0]


def restored(
    box: StoreBox, artifact: Artifact, name: str, how: RestoreHow = SHARED, mode: int = 0o644
) -> tuple[Path, Restored]:
    path = box.target / name
    done = box.store.restore(artifact, os.fsencode(path), mode=mode, how=how)
    assert done.bytes == artifact.size
    assert done.identity == FileIdentity.of(path.lstat())
    assert path.stat().st_mode & 0o777 == mode
    assert box.temps() == []
    return path, done


@pytest.mark.usefixtures("no_reflink")
def test_shared_is_the_blob_itself_with_its_old_date(box: StoreBox) -> None:
    artifact = rlib(box)
    live = box.target / "libserde.rlib"
    date_ns = live.stat().st_mtime_ns
    first, how = restored(box, artifact, "one.rlib")
    second, _ = restored(box, artifact, "two.rlib")
    assert how.method == "linked"
    assert len({path.stat().st_ino for path in (live, first, second, box.blob(artifact.digest))}) == 1
    assert first.stat().st_mtime_ns == date_ns


@pytest.mark.usefixtures("no_reflink")
def test_private_is_a_file_of_its_own_dated_now_by_the_kernel(box: StoreBox) -> None:
    artifact = rlib(box)
    os.utime(box.target / "libserde.rlib", ns=(10**18, 10**18))
    before = box.target / "before"
    before.touch()
    path, how = restored(box, artifact, "one.rlib", PRIVATE, 0o755)
    after = box.target / "after"
    after.touch()
    assert how.method == "copied"
    assert before.stat().st_mtime_ns <= path.stat().st_mtime_ns <= after.stat().st_mtime_ns
    assert path.stat().st_nlink == 1 and path.read_bytes() == CONTENT


@pytest.mark.parametrize("how", [SHARED, PRIVATE])
def test_what_is_there_is_replaced_never_written_through(box: StoreBox, how: RestoreHow) -> None:
    artifact = rlib(box)
    path = box.target / "one.rlib"
    path.write_bytes(b"old")
    other_name = box.target / "other"
    os.link(path, other_name)
    restored(box, artifact, "one.rlib", how)
    assert path.read_bytes() == CONTENT
    assert other_name.read_bytes() == b"old"
    restored(box, artifact, "one.rlib", how)  # where it may be the blob itself already
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("how", [SHARED, PRIVATE])
def test_a_symlink_in_the_way_is_replaced_not_followed(box: StoreBox, how: RestoreHow) -> None:
    artifact = rlib(box)
    (box.target / "elsewhere").write_bytes(b"precious")
    (box.target / "one.rlib").symlink_to(box.target / "elsewhere")
    restored(box, artifact, "one.rlib", how)
    assert (box.target / "elsewhere").read_bytes() == b"precious"


@pytest.mark.usefixtures("no_reflink")
def test_another_mode_means_a_copy_with_the_old_date(box: StoreBox) -> None:
    artifact = rlib(box)
    date_ns = (box.target / "libserde.rlib").stat().st_mtime_ns
    path, how = restored(box, artifact, "one.rlib", SHARED, 0o600)
    assert (how.method, path.stat().st_mtime_ns) == ("copied", date_ns)
    assert box.blob(artifact.digest).stat().st_mode & 0o777 == 0o644


@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_no_link_means_a_copy(box: StoreBox, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    artifact = rlib(box)
    link = os.link

    def refusing(source: bytes, target: bytes, **more: object) -> None:
        if b"/blobs/" in source:
            raise OSError(number, os.strerror(number))
        link(source, target, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", refusing)
    assert restored(box, artifact, "one.rlib")[1].method == "copied"


@pytest.mark.usefixtures("no_reflink")
def test_more_links_than_ext4_allows(box: StoreBox) -> None:
    artifact = rlib(box)
    blob = os.fsencode(box.blob(artifact.digest))
    many = box.root / "many"
    many.mkdir()
    try:
        for number in range(65_100):
            os.link(blob, b"%b/%d" % (os.fsencode(many), number))
    except OSError as error:
        assert error.errno == errno.EMLINK
    else:
        pytest.skip("this filesystem has no such limit")
    assert restored(box, artifact, "one.rlib")[1].method == "copied"


def test_a_target_that_cannot_be_written_is_the_stores_error(box: StoreBox) -> None:
    artifact = rlib(box)
    for how in (SHARED, PRIVATE):
        with pytest.raises(StoreError) as caught:
            box.store.restore(artifact, os.fsencode(box.target / "no" / "dir"), mode=0o644, how=how)
        assert not isinstance(caught.value, BlobBrokenError)
    assert box.store.entry_count() == 1


def same_size(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def same_size_and_date(path: Path) -> None:
    date = path.stat()
    same_size(path)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))


def replaced(path: Path) -> None:
    date = path.stat()
    path.unlink()
    path.write_bytes(b"x" * date.st_size)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))


TAMPERINGS = [same_size, same_size_and_date, replaced, lambda p: os.truncate(p, 10), lambda p: p.unlink()]


@pytest.mark.parametrize("tamper", TAMPERINGS)
@pytest.mark.parametrize("how", [SHARED, PRIVATE])
@pytest.mark.parametrize("warm", [True, False])
def test_a_broken_blob_is_a_miss_and_goes(box: StoreBox, tamper: object, how: RestoreHow, warm: bool) -> None:
    artifact = rlib(box)
    kept = box.put("other", {Role.RLIB: b"other" * 999})
    if warm:
        restored(box, artifact, "before.rlib", how)
    blob = box.blob(artifact.digest)
    time.sleep(0.01)  # a tick of the kernel's clock, where ctime has no more than that
    assert callable(tamper)
    tamper(blob)
    if not warm:
        box.reopen()
    with pytest.raises(BlobBrokenError) as caught:
        box.store.restore(artifact, os.fsencode(box.target / "one.rlib"), mode=0o644, how=how)
    assert caught.value.digest == artifact.digest
    assert not (box.target / "one.rlib").exists() and not blob.exists()
    assert box.store.entry_count() == 1
    assert box.store.memos(kept.weak_key) != []
    again = rlib(box)
    assert restored(box, again, "one.rlib", how)[0].read_bytes() == CONTENT


@pytest.mark.usefixtures("no_reflink")
def test_a_link_removed_by_others_costs_a_hash_and_no_more(box: StoreBox, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = rlib(box)
    path, _ = restored(box, artifact, "one.rlib")
    hashed: list[int] = []
    from kache.store import hashing

    real = hashing.hash_fd
    monkeypatch.setattr(hashing, "hash_fd", lambda fd: hashed.append(fd) or real(fd))
    restored(box, artifact, "two.rlib")
    box.reopen()
    restored(box, artifact, "three.rlib")
    assert hashed == []
    time.sleep(0.01)
    path.unlink()
    restored(box, artifact, "four.rlib")
    restored(box, artifact, "five.rlib")
    assert len(hashed) == 1


@pytest.mark.usefixtures("no_reflink")
def test_a_blob_of_an_earlier_boot_is_hashed_unless_it_was_synced(
    box: StoreBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kache.store import hashing

    hashed: list[int] = []
    real = hashing.hash_fd
    monkeypatch.setattr(hashing, "hash_fd", lambda fd: hashed.append(fd) or real(fd))
    artifact = rlib(box)
    monkeypatch.setattr("kache.util.processes.boot_id", lambda: "later")
    box.reopen()
    restored(box, artifact, "one.rlib")
    assert len(hashed) == 1
    monkeypatch.setattr("kache.util.processes.boot_id", lambda: "later still")
    box.reopen()
    restored(box, artifact, "two.rlib")
    assert len(hashed) == 1  # what was read after a boot is on the disk
    box.put("other", {Role.RLIB: b"other" * 999})
    assert box.store.verify_changed(10) == 2
    monkeypatch.setattr("kache.util.processes.boot_id", lambda: "last")
    box.reopen()
    restored(box, artifact, "three.rlib")
    assert len(hashed) == 1


def test_idle_work_drops_what_is_broken_and_then_rests(box: StoreBox) -> None:
    good = box.put("good", {Role.RLIB: b"good" * 999})
    bad = box.put("bad", {Role.RLIB: b"bad" * 999})
    assert box.store.verify_changed(10) == 2
    assert box.store.verify_changed(10) == 0
    time.sleep(0.01)
    same_size_and_date(box.blob(bad.artifacts[0].digest))
    assert box.store.verify_changed(10) == 0
    box.store._verifier._rest_until = 0
    assert box.store.verify_changed(10) == 2
    assert box.store.entry(bad.key) is None and box.store.entry(good.key) == good
    assert box.store.verify_changed(10) == 0
    box.put("new", {Role.RLIB: b"new" * 999})
    assert box.store.verify_changed(10) == 2


def test_idle_work_in_slices_gets_to_the_end(box: StoreBox) -> None:
    for number in range(30):
        box.put(f"crate{number}")
    seen = 0
    while looked_at := box.store.verify_changed(0):
        assert looked_at == 1
        seen += looked_at
    assert seen == 30
    box.store._verifier._rest_until = 0
    assert box.store.verify_changed(10) == 30


def test_two_stores_link_one_blob_in_turn(box: StoreBox, tmp_path: Path) -> None:
    artifact = rlib(box)
    from kache.store.local import LocalStore

    other = LocalStore.open(box.cache_dir)
    try:
        for number in range(10):
            restored(box, artifact, f"a{number}")
            other.restore(artifact, os.fsencode(box.target / f"b{number}"), mode=0o644, how=SHARED)
    finally:
        other.close()
    box.reopen()
    assert restored(box, artifact, "last")[0].read_bytes() == CONTENT
