"""Private copies made before a restore asks for them: the same files as those made when it asks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.core.entry import Artifact, Role
from kache.errors import BlobBrokenError
from kache.store import ready_copies
from kache.store.local import RestoreHow
from kache.util import copying
from tests.support.store import StoreBox

PROGRAM = b"a program " * (ready_copies.MIN_BYTES // 10 + 1)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="files without a name are Linux's")


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreBox]:
    """A store that has to copy, wherever the tests run."""
    monkeypatch.setattr(copying, "clone", lambda source, target: False)
    monkeypatch.setattr(copying, "may_clone", lambda source, target: False)
    box = StoreBox(tmp_path)
    yield box
    box.store.close()


def program(box: StoreBox, content: bytes = PROGRAM) -> Artifact:
    return box.put("tool", {Role.LINKED: content}).artifacts[0]


def restore(box: StoreBox, artifact: Artifact, directory: Path | None = None) -> os.stat_result:
    path = (directory or box.target) / "tool"
    box.store.restore(artifact, os.fsencode(path), mode=0o755, how=RestoreHow.PRIVATE)
    assert path.read_bytes() == PROGRAM
    assert oct(path.stat().st_mode & 0o777) == "0o755"
    return path.stat()


def waiting() -> set[int]:
    """Inodes of open files that have no name."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            facts = os.stat(f"/proc/self/fd/{name}")
        except OSError:
            continue
        if facts.st_nlink == 0 and facts.st_size == len(PROGRAM):
            found.add(facts.st_ino)
    return found


def test_the_copy_made_beforehand_is_the_file_restored_dated_when_it_is(box: StoreBox) -> None:
    artifact = program(box)
    box.store.prepare_copy(artifact.digest)
    prepared = waiting()
    assert len(prepared) == 1
    time.sleep(0.02)
    mark = box.root / "mark"
    mark.touch()
    found = restore(box, artifact)
    assert {found.st_ino} == prepared
    assert (found.st_nlink, found.st_uid, found.st_gid) == (1, os.getuid(), box.target.stat().st_gid)
    assert found.st_mtime_ns >= mark.stat().st_mtime_ns
    assert waiting() == set()


def test_each_copy_is_used_once(box: StoreBox) -> None:
    artifact = program(box)
    box.store.prepare_copy(artifact.digest)
    assert restore(box, artifact).st_ino != restore(box, artifact).st_ino


def test_a_copy_of_a_blob_that_was_altered_since_is_not_used(box: StoreBox) -> None:
    artifact = program(box)
    box.store.prepare_copy(artifact.digest)
    blob = box.blob(artifact.digest)
    blob.chmod(0o644)
    with open(blob, "r+b") as file:
        file.write(b"X")
    with pytest.raises(BlobBrokenError):
        restore(box, artifact)
    assert waiting() == set()


def test_a_directory_that_hands_down_its_group_gets_a_file_of_its_own(box: StoreBox) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can give a directory to another group")
    artifact = program(box)
    directory = box.target / "team"
    directory.mkdir()
    os.chown(directory, -1, 12345)
    directory.chmod(0o2775)
    box.store.prepare_copy(artifact.digest)
    assert restore(box, artifact, directory).st_gid == 12345
    assert len(waiting()) == 1


def test_a_directory_with_a_default_acl_gets_a_file_of_its_own(box: StoreBox) -> None:
    artifact = program(box)
    entries = [(0x01, 7, 0xFFFFFFFF), (0x04, 7, 0xFFFFFFFF), (0x20, 5, 0xFFFFFFFF)]
    acl = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + rights.to_bytes(2, "little") + who.to_bytes(4, "little")
        for tag, rights, who in entries
    )
    try:
        os.setxattr(box.target, "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("no ACLs on this filesystem")
    box.store.prepare_copy(artifact.digest)
    restore(box, artifact)
    assert len(waiting()) == 1


def test_what_nobody_took_is_given_up(box: StoreBox) -> None:
    artifact = program(box)
    box.store.prepare_copy(artifact.digest)
    box.store.drop_copies()
    assert waiting() == set()
    restore(box, artifact)


def test_all_copies_together_have_a_limit(box: StoreBox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready_copies, "MAX_BYTES", len(PROGRAM) * 3 // 2)
    for content in (PROGRAM, PROGRAM[::-1]):
        box.store.prepare_copy(program(box, content).digest)
    assert len(waiting()) == 1


def test_a_killed_process_leaves_nothing(box: StoreBox) -> None:
    artifact = program(box)
    box.store.close()
    code = (
        "import os,sys; from pathlib import Path; from kache.util import copying\n"
        "from kache.store.local import LocalStore\n"
        "copying.clone = copying.may_clone = lambda a, b: False\n"
        "store = LocalStore.open(Path(sys.argv[1])); store.prepare_copy(bytes.fromhex(sys.argv[2]))\n"
        "os.kill(os.getpid(), 9)"
    )
    before = sorted(path.name for path in box.cache_dir.rglob("*"))
    argv = [sys.executable, "-c", code, str(box.cache_dir), artifact.digest.hex()]
    assert subprocess.run(argv, check=False).returncode == -9
    box.store = type(box.store).open(box.cache_dir)
    assert list(box.temps()) == []
    assert set(before) <= {path.name for path in box.cache_dir.rglob("*")}
