"""A whole look at a store: what is missing, what is altered, and what a repair leaves."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kache.store.audit import AuditReport
from tests.support.store import StoreBox, digest_of


@pytest.fixture
def box(tmp_path: Path) -> StoreBox:
    made = StoreBox(tmp_path)
    for name in ("one", "two", "three"):
        made.put(name)
    return made


def look(box: StoreBox, *, checksums: bool = False, repair: bool = False) -> AuditReport:
    return box.store.audit(checksums=checksums, repair=repair, progress=lambda _done, _total: None)


def blob_of(box: StoreBox, name: str) -> Path:
    entry = box.store.entry(digest_of(f"key {name}"))
    assert entry is not None
    return box.blob(entry.artifacts[0].digest)


def alter_unseen(path: Path) -> None:
    """Bits that rot move no date."""
    facts = path.stat()
    content = path.read_bytes()
    path.write_bytes(b"?" + content[1:])
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


@pytest.mark.parametrize("checksums", [False, True])
def test_a_sound_store(box: StoreBox, checksums: bool) -> None:
    report = look(box, checksums=checksums)
    assert report.is_sound and report.blobs == 3
    assert (report.hashed_bytes > 0) is checksums


def test_missing_and_altered_are_found_and_nothing_is_touched(box: StoreBox) -> None:
    blob_of(box, "one").unlink()
    path = blob_of(box, "two")
    path.write_bytes(path.read_bytes() + b"more")
    report = look(box)
    assert [len(report.missing), len(report.altered)] == [1, 1] and not report.is_sound
    assert box.store.entry_count() == 3 and path.exists()


def test_a_repair_drops_what_is_broken_and_keeps_the_rest(box: StoreBox) -> None:
    blob_of(box, "one").unlink()
    alter_unseen(blob_of(box, "two"))
    leftover = box.blob(digest_of("nobody"))
    leftover.parent.mkdir(exist_ok=True)
    leftover.write_bytes(b"x")
    report = look(box, checksums=True, repair=True)
    assert (report.dropped_entries, report.leftover_files) == (2, 1)
    box.reopen()
    again = look(box, checksums=True)
    assert again.is_sound and again.blobs == 1 and not again.leftover_files
    assert box.store.entry_count() == 1


def test_an_entry_without_its_blobs_row_is_hollow(box: StoreBox) -> None:
    digest = bytes.fromhex(blob_of(box, "three").name)
    with box.store._index.transaction() as connection:
        connection.execute("DELETE FROM blobs WHERE digest = ?", (digest,))
    assert look(box).hollow_entries == 1
    assert look(box, repair=True).dropped_entries == 1
    assert look(box).is_sound
