"""A damaged, missing, full, foreign or shared store never fails a build, never gives a wrong result, and heals."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.filesystems import read_only, small_tmpfs
from tests.support.marks import as_root, slow
from tests.support.projects import chain, everything
from tests.support.sandbox import Sandbox


def prints(checkout: Checkout, expected: str = "42\n") -> None:
    """The program of `chain` does what its sources say."""
    assert checkout.program("app") == expected


def failing(box: Sandbox, check: str) -> str:
    """What doctor says of a check that fails or warns."""
    data = box.data("doctor", exit_code=1)
    found = [
        f"{item['what']} {item['why']}" for item in data["checks"] if item["check"] == check and item["status"] != "ok"
    ]
    assert found, data
    return found[0]


# ---- blobs


def truncate(blob: Path) -> None:
    replace(blob, blob.read_bytes()[:100])


def alter(blob: Path) -> None:
    content = bytearray(blob.read_bytes())
    content[len(content) // 2] ^= 0xFF
    replace(blob, bytes(content))


def empty(blob: Path) -> None:
    replace(blob, b"")


def replace(blob: Path, content: bytes) -> None:
    """As a bad disk would: the dates stay, and files linked to the blob are not touched."""
    facts = blob.stat()
    other = blob.with_name("damaged")
    other.write_bytes(content)
    os.utime(other, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    other.chmod(facts.st_mode & 0o777)
    other.rename(blob)


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "altered": alter,
    "missing": Path.unlink,
    "empty": empty,
}


@pytest.mark.parametrize("damage", [pytest.param(n, marks=slow if n == "empty" else ()) for n in DAMAGES])
def test_damaged_blobs_are_compiled_again_and_healed(box: Sandbox, damage: str) -> None:
    """Guards against serving damage: a blob is looked at before it is served, and a wrong one is a miss."""
    box.checkout("a", chain()).build()
    for blob in box.blobs():
        DAMAGES[damage](blob)
    second = box.checkout("second", chain())
    second.build().expect(misses="leaf mid app", hits=0)
    second.same_bytes_as_plain()
    prints(second)
    third = box.checkout("third", chain())
    third.build().expect(hits="leaf mid app", misses=0)
    third.same_bytes_as_plain()


def test_one_damaged_blob_costs_one_compile(box: Sandbox) -> None:
    """Guards what is stored: damage to one entry takes no other with it."""
    first = box.checkout("a", chain())
    first.build()
    rlib = next(first.target.glob("debug/deps/libmid-*.rlib")).read_bytes()
    blob = next(path for path in box.blobs() if path.read_bytes() == rlib)
    alter(blob)
    second = box.checkout("second", chain())
    second.build().expect(misses="mid", hits="leaf app")
    prints(second)
    box.checkout("third", chain()).build().expect(hits="leaf mid app", misses=0)


def test_all_blobs_gone(box: Sandbox) -> None:
    """Guards `rm -rf` of half of the store: the other half does not trip over it."""
    box.checkout("a", chain()).build()
    shutil.rmtree(box.cache_dir / "store" / "blobs")
    second = box.checkout("second", chain())
    second.build().expect(hits=0, misses=None, errors=None)
    prints(second)
    box.stop()
    box.checkout("third", chain()).build().expect(hits=None, misses=None)
    box.checkout("fourth", chain()).build().expect(hits="leaf mid app", misses=0)


# ---- the index


def test_a_corrupt_index_is_set_aside(box: Sandbox) -> None:
    """Guards a damaged database: one clear line, an empty index, hits again after one build, nothing deleted."""
    box.checkout("a", chain()).build()
    box.stop()
    size = box.index.stat().st_size
    box.index.write_bytes(b"no database at all\n" * (size // 19 + 1))
    assert "damaged" in failing(box, "store")
    second = box.checkout("second", chain())
    second.build().expect(misses="leaf mid app", hits=0)
    prints(second)
    assert "is damaged" in box.log()
    assert list(box.index.parent.glob("index.db.corrupt-*"))
    box.checkout("third", chain()).build().expect(hits="leaf mid app", misses=0)


def test_an_index_damaged_under_a_running_engine(box: Sandbox) -> None:
    """Guards a disk that goes bad during a build: what runs goes on, and the next start heals."""
    box.checkout("a", chain()).build()
    with box.index.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(box.index.stat().st_size - 4096))
    second = box.checkout("second", chain())
    second.build("-q")
    prints(second)
    box.stop()
    for name in ("third", "fourth", "fifth"):
        last = box.checkout(name, chain())
        built = last.build("-q")
        prints(last)
    built.expect(hits="leaf mid app", misses=0)


def test_an_index_that_cannot_be_read(box: Sandbox) -> None:
    """Guards permissions: without the index builds are plain, and doctor says what is in the way."""
    box.daemon_may_fail = True
    box.checkout("a", chain()).build()
    box.stop()
    aside = box.index.with_name("aside")
    box.index.rename(aside)
    box.index.mkdir()  # root may read anything but this
    second = box.checkout("second", chain())
    second.build()
    prints(second)
    assert failing(box, "store")
    box.index.rmdir()
    aside.rename(box.index)
    box.stop()
    box.failed_start.unlink(missing_ok=True)
    box.checkout("third", chain()).build().expect(hits="leaf mid app", misses=0)


def test_an_index_of_a_newer_kache_is_left_alone(box: Sandbox) -> None:
    """Guards an older kache after an upgrade was taken back: it does without, and harms nothing."""
    box.daemon_may_fail = True
    box.checkout("a", chain()).build()
    box.stop()
    with sqlite3.connect(box.index) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    blobs = box.blobs()
    second = box.checkout("second", chain())
    second.build()
    prints(second)
    assert "newer" in failing(box, "store")
    assert "schema 999" in box.log()
    assert box.blobs() == blobs


# ---- the directory


@as_root
def test_a_cache_dir_of_another_user_is_not_used(box: Sandbox) -> None:
    """Guards trust: what another user can write is neither read nor written, and doctor says so."""
    box.daemon_may_fail = True
    box.cache_dir.mkdir()
    os.chown(box.cache_dir, 12345, 12345)
    checkout = box.checkout("a", chain())
    checkout.build()
    prints(checkout)
    # A launcher notes a failed start where the socket would be, and never through a link.
    assert [path.name for path in box.cache_dir.iterdir() if path != box.failed_start] == []
    assert "not ours" in failing(box, "cache_dir")
    os.chown(box.cache_dir, os.getuid(), os.getgid())


def test_a_cache_dir_that_is_a_file(box: Sandbox) -> None:
    """Guards a wrong setting: the build is plain, the file is left as it is."""
    box.daemon_may_fail = True
    box.cache_dir.write_text("mine")
    checkout = box.checkout("a", chain())
    checkout.build()
    prints(checkout)
    assert box.cache_dir.read_text() == "mine"
    assert "not a directory" in failing(box, "cache_dir")


@as_root
@pytest.mark.parametrize("size_kib", [64, 600, 1500])
def test_a_full_disk_means_uncached_builds(box: Sandbox, size_kib: int, tmp_path: Path) -> None:
    """Guards ENOSPC anywhere: for the index, for a blob, for the log; the build never notices."""
    box.daemon_may_fail = True
    with small_tmpfs(tmp_path, size_kib * 1024) as point:
        box.settings["KACHE_CACHE_DIR"] = str(point)
        box.cache_dir = point
        try:
            for name in ("a", "second"):
                checkout = box.checkout(name, chain())
                checkout.build()
                prints(checkout)
            checkout.clean().build()
            prints(checkout)
            checkout.fresh()
            checks = box.data("doctor", exit_code=box.kache("doctor").returncode)["checks"]
            assert any("free at" in item["what"] for item in checks), checks
            assert size_kib < 1000 or "No space left on device" in box.log()
        finally:
            box.close()


@as_root
def test_a_read_only_store_means_uncached_builds(box: Sandbox) -> None:
    """Guards a disk remounted read-only: builds succeed, before and after a new start, and nothing stored is lost."""
    box.daemon_may_fail = True
    box.checkout("a", chain()).build()
    before = sorted(path.name for path in box.blobs())
    with read_only(box.cache_dir):
        for name in ("second", "third"):
            checkout = box.checkout(name, chain())
            checkout.build("-q")
            prints(checkout)
            box.close()  # the next one has to open it
        assert "cannot be written" in failing(box, "cache_dir")
    assert sorted(path.name for path in box.blobs()) == before
    box.failed_start.unlink(missing_ok=True)
    box.checkout("fourth", chain()).build().expect(hits="leaf mid app", misses=0)


def test_the_cache_dir_removed_under_a_running_engine(box: Sandbox) -> None:
    """Guards `rm -rf` of the cache dir: the build goes on, and the next ones fill a new store."""
    box.checkout("a", chain()).build()
    shutil.rmtree(box.cache_dir)
    second = box.checkout("second", chain())
    second.build("-q")
    prints(second)
    time.sleep(0.2)
    for name in ("third", "fourth"):
        last = box.checkout(name, chain())
        built = last.build("-q")
    built.expect(hits="leaf mid app", misses=0)


# ---- clocks and hands


def test_a_clock_that_went_backwards(box: Sandbox) -> None:
    """Guards dates from the future on everything kache keeps and reads: contents decide."""
    first = box.checkout("a", chain())
    first.build()
    box.stop()
    later = time.time() + 86400
    for path in [*box.cache_dir.rglob("*"), *first.path.rglob("*.rs")]:
        if path.is_file():
            os.utime(path, (later, later))
    second = box.checkout("second", chain())
    second.build().expect(hits="leaf mid app", misses=0)
    prints(second)
    second.fresh()
    second.edit("leaf/src/lib.rs", "21", "50")
    second.build().expect(misses="leaf mid app")
    prints(second, "100\n")
    box.checkout("third", chain()).build().expect(hits="leaf mid app")


def test_an_edit_that_keeps_size_and_date_is_seen(box: Sandbox) -> None:
    """Guards the stat memo: `touch -r` hides an edit from cargo and make, not from kache."""
    checkout = box.checkout("a", chain())
    checkout.build()
    source = checkout.path / "leaf" / "src" / "lib.rs"
    facts = source.stat()
    time.sleep(2.1)  # until the file counts as settled and its digest is remembered
    checkout.clean().build().expect(hits="leaf mid app")
    source.write_text(source.read_text().replace("21", "50"))
    os.utime(source, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    checkout.clean().build().expect(misses="leaf mid app", hits=0)
    prints(checkout, "100\n")


def test_programs_changed_in_place_harm_neither_the_store_nor_other_checkouts(box: Sandbox) -> None:
    """Guards `strip`, `chmod` and installers: what a linker writes is each checkout's own copy."""
    first, second = box.checkout("a", everything()), box.checkout("second", everything())
    first.build()
    second.build().expect(hits=5)
    before = first.outputs()
    for name in ("app", "libboth.so"):
        path = second.target / "debug" / name
        with path.open("r+b") as file:
            file.write(b"overwritten in place")
        path.chmod(0o600)
    if shutil.which("strip"):
        subprocess.run(["strip", "-p", *second.target.glob("debug/deps/libmacros-*.so")], check=True)
    first.outputs().same_as(before)
    third = box.checkout("third", everything())
    third.build().expect(hits=5, misses=0)
    third.same_bytes_as_plain()


def test_an_rlib_changed_in_place_is_never_served(box: Sandbox) -> None:
    """Guards shared inodes: a library some tool wrote into is found out by its dates and compiled again."""
    first, second = box.checkout("a", chain()), box.checkout("second", chain())
    first.build()
    second.build().expect(hits=3)
    rlib = next(second.target.glob("debug/deps/libleaf-*.rlib"))
    facts = rlib.stat()
    content = bytearray(rlib.read_bytes())
    content[-200:] = bytes(200)
    with rlib.open("r+b") as file:
        file.write(content)
    os.utime(rlib, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    third = box.checkout("third", chain())
    third.build().expect(hits=None, misses=None)
    prints(third)
    third.same_bytes_as_plain()
    second.clean().build().expect(hits="leaf mid app", misses=0)
    prints(second)


def test_a_library_made_private_does_not_change_the_mode_of_the_next(box: Sandbox) -> None:
    """Guards modes: `chmod` of a restored library reaches no other checkout's build."""
    box.checkout("a", chain()).build()
    second = box.checkout("second", chain())
    second.build()
    next(second.target.glob("debug/deps/libleaf-*.rlib")).chmod(0o400)
    third = box.checkout("third", chain())
    third.build().expect(hits="leaf mid app", misses=0)
    assert next(third.target.glob("debug/deps/libleaf-*.rlib")).stat().st_mode & 0o777 == 0o644
    third.edit("leaf/src/lib.rs", "21", "50")
    third.build(env={"RUSTC_WRAPPER": ""})
    prints(third, "100\n")
