"""Outputs on their way into the store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.core.digest import hash_bytes
from kache.core.entry import Artifact, FileIdentity, Role
from kache.errors import OutputChangedError, StoreError
from kache.store import hashing
from kache.store.hashing import scan_fd
from kache.util import copying
from tests.support.store import StoreBox, entry_of, memo_of


@pytest.fixture
def box(tmp_path: Path) -> Iterator[StoreBox]:
    box = StoreBox(tmp_path)
    yield box
    box.store.close()


@pytest.fixture
def no_reflink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "clone", lambda source, target: False)
    monkeypatch.setattr(copying, "may_clone", lambda source, target: False)


@pytest.mark.usefixtures("no_reflink")
def test_a_shared_output_becomes_the_blob(box: StoreBox) -> None:
    path = box.output("a.rlib", b"content" * 1000)
    staged = box.store.stage(path, share=True)
    assert (staged.digest, staged.size, staged.mode) == (hash_bytes(b"content" * 1000), 7000, 0o644)
    assert staged.identity == FileIdentity.of(os.lstat(path))
    entry = entry_of("a", (Artifact("a.rlib", Role.RLIB, staged.digest, staged.size, executable=False),))
    box.store.commit(entry, memo_of(entry), [staged])
    assert os.path.samefile(path, box.blob(staged.digest))
    assert staged.identity == FileIdentity.of(os.lstat(path))


@pytest.mark.usefixtures("no_reflink")
def test_the_same_content_again_keeps_the_first_blob(box: StoreBox) -> None:
    entry = box.put("a", {Role.RLIB: b"same" * 1000})
    inode = box.blob(entry.artifacts[0].digest).stat().st_ino
    path = box.output("b.rlib", b"same" * 1000)
    staged = box.store.stage(path, share=True)
    again = entry_of("b", entry.artifacts)
    box.store.commit(again, memo_of(again), [staged])
    assert box.blob(staged.digest).stat().st_ino == inode
    assert staged.identity == FileIdentity.of(os.lstat(path))
    assert os.lstat(path).st_nlink == 1
    assert box.temps() == []


@pytest.mark.usefixtures("no_reflink")
def test_the_blob_staged_again_under_its_own_inode(box: StoreBox) -> None:
    entry = box.put("a", {Role.RLIB: b"same" * 1000})
    staged = box.store.stage(os.fsencode(box.target / "liba.rlib"), share=True)
    box.store.commit(entry, memo_of(entry), [staged])
    assert box.temps() == []


@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize("mode", [0o444, 0o555, 0o400])
def test_a_mode_no_output_should_have_means_a_copy(box: StoreBox, mode: int) -> None:
    path = box.output("a.rlib", b"content" * 1000, mode)
    staged = box.store.stage(path, share=True)
    assert (staged.is_link, staged.mode) == (False, mode)
    box.store.discard(staged)
    assert box.temps() == []


@pytest.mark.usefixtures("no_reflink")
def test_a_program_that_nobody_writes_to_is_linked_with_its_mode(box: StoreBox) -> None:
    staged = box.store.stage(box.output("build-script-build", b"content" * 1000, 0o755), share=True)
    assert (staged.is_link, staged.mode) == (True, 0o755)
    box.store.discard(staged)


def test_what_is_not_shared_is_copied_before_it_is_hashed(box: StoreBox) -> None:
    path = box.output("a", b"content" * 1000, 0o755)
    staged = box.store.stage(path, share=False)
    with open(path, "r+b") as live:
        live.write(b"CHANGED")
    entry = entry_of("a", (Artifact("a", Role.LINKED, staged.digest, staged.size, executable=True),))
    box.store.commit(entry, memo_of(entry), [staged])
    assert box.blob(staged.digest).read_bytes() == b"content" * 1000


@pytest.mark.usefixtures("no_reflink")
@pytest.mark.parametrize("share", [True, False])
def test_an_output_written_to_meanwhile_is_refused(box: StoreBox, monkeypatch: pytest.MonkeyPatch, share: bool) -> None:
    path = box.output("a.rlib", b"content" * 1000)

    def write(*_: object) -> None:
        with open(path, "ab") as live:
            live.write(b"more")

    real_scan, real_copy = hashing.scan_fd, copying.copy
    monkeypatch.setattr(hashing, "scan_fd", lambda fd, needles: (real_scan(fd, needles), write())[0])
    monkeypatch.setattr(copying, "copy", lambda source, target: (real_copy(source, target), write())[0])
    with pytest.raises(OutputChangedError):
        box.store.stage(path, share=share)
    assert box.temps() == []


def test_no_file_or_no_regular_one(box: StoreBox) -> None:
    with pytest.raises(FileNotFoundError):
        box.store.stage(os.fsencode(box.target / "absent"), share=True)
    with pytest.raises(StoreError):
        box.store.stage(os.fsencode(box.target), share=False)
    assert box.temps() == []


@pytest.mark.parametrize("with_memmem", [True, False])
def test_needles_are_found_across_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, with_memmem: bool) -> None:
    if not with_memmem:
        monkeypatch.setattr(hashing, "_memmem", lambda: None)
    chunk = hashing._CHUNK_BYTES
    for at in (0, 10, chunk - 20, chunk - 5, chunk, 2 * chunk - 1, 3 * chunk):
        content = bytearray(b"\0" * (3 * chunk + 50))
        content[at : at + 10] = b"/workspace"
        path = tmp_path / "file"
        path.write_bytes(content)
        fd = os.open(path, os.O_RDONLY)
        try:
            needles = [b"/workspace", b"/workspace/target", b"absent", b""]
            digest, found = scan_fd(fd, needles)
        finally:
            os.close(fd)
        assert (digest, found) == (hash_bytes(bytes(content)), frozenset({b"/workspace"}))


def test_a_longer_needle_is_found_after_the_shorter_one_was(tmp_path: Path) -> None:
    chunk = hashing._CHUNK_BYTES
    path = tmp_path / "file"
    path.write_bytes(b"/ws" + b"\0" * chunk * 2 + b"/ws/target")
    fd = os.open(path, os.O_RDONLY)
    try:
        assert scan_fd(fd, [b"/ws", b"/ws/target"])[1] == {b"/ws", b"/ws/target"}
    finally:
        os.close(fd)


def test_copy_falls_back_where_the_kernel_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    with (tmp_path / "a").open("rb") as source, (tmp_path / "b").open("wb") as target:
        copying.copy(source.fileno(), target.fileno())
    assert (tmp_path / "b").read_bytes() == b"x" * 3_000_000


def test_leftovers_of_dead_processes_are_swept_and_ours_stay(box: StoreBox) -> None:
    mine = box.store.stage(box.output("a", b"a"), share=False)
    boot, namespace, pid, ticks, _ = os.path.basename(mine.temp).decode().split("-")
    temp = box.cache_dir / "store" / "tmp"
    names = {
        "ended": f"{boot}-{namespace}-{pid}-1-0",
        "earlier boot": f"00000000-{namespace}-{pid}-{ticks}-0",
        "another container": f"{boot}-1-{pid}-1-0",
    }
    for name in names.values():
        (temp / name).touch()
    other = box.store
    box.store = type(box.store).open(box.cache_dir)
    other.close()
    assert {path.name for path in temp.iterdir()} == {os.path.basename(mine.temp).decode(), names["another container"]}
