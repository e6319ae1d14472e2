"""Builds on filesystems with reflinks, without them, and across two: how bytes are shared, and that they stay apart."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.filesystems import mounted, small_tmpfs
from tests.support.marks import slow
from tests.support.projects import chain, everything
from tests.support.sandbox import DAEMON, INSIDE, Sandbox

Made = Callable[[str], Sandbox]


@pytest.fixture
def on_disk(tmp_path: Path, make_box: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], Sandbox]]:
    """Makes a box whose every file is on a new filesystem."""
    with ExitStack() as stack:

        def make(kind: str, engine: str) -> Sandbox:
            point = stack.enter_context(mounted(kind, tmp_path))
            monkeypatch.setattr(tempfile, "tempdir", str(point))
            box = make_box(engine)
            stack.callback(box.close)  # before the filesystem goes
            return box

        yield make


@pytest.mark.parametrize("engine", [DAEMON, pytest.param(INSIDE, marks=slow)])
@pytest.mark.parametrize("kind", ["xfs", "btrfs"])
def test_with_reflinks_everything_is_cloned(on_disk: Callable[[str, str], Sandbox], kind: str, engine: str) -> None:
    """Guards copy-on-write disks: nothing is copied byte by byte, nothing shares an inode, cargo finds all fresh."""
    box = on_disk(kind, engine)
    first, second = box.checkout("a", everything()), box.checkout("the/second", everything())
    first.build().expect(misses=5)
    warm = second.build()
    warm.expect(hits=5, misses=0)
    assert sum(call.cloned_bytes for call in warm.calls.all) > 0
    assert sum(call.linked_bytes + call.copied_bytes for call in warm.calls.all) == 0
    assert {path.stat().st_nlink for path in second.target.glob("debug/deps/*.rlib")} <= {1, 2}  # cargo's own link
    second.same_bytes_as_plain()
    for checkout in (first, second):
        checkout.fresh()
    before = first.outputs()
    for path in second.target.glob("debug/deps/*.rlib"):
        path.write_bytes(b"written over in place")
    first.outputs().same_as(before)
    third = box.checkout("third", everything())
    third.build().expect(hits=5, misses=0)
    third.same_bytes_as_plain()


def test_without_reflinks_libraries_are_linked_and_the_rest_is_copied(on_disk: Callable[[str, str], Sandbox]) -> None:
    """Guards disk use on ext4: a second checkout's libraries are names of the first one's, and both are fresh."""
    box = on_disk("ext4", "daemon")
    first, second = box.checkout("a", everything()), box.checkout("the/second", everything())
    first.build()
    warm = second.build()
    warm.expect(hits=5, misses=0)
    linked = sum(call.linked_bytes for call in warm.calls.all)
    assert linked > 0 and sum(call.cloned_bytes for call in warm.calls.all) == 0
    for path in first.target.glob("debug/deps/libgenerated-*.rlib"):
        assert path.samefile(next(second.target.glob("debug/deps/libgenerated-*.rlib")))
    for name in ("app", "libboth.so"):
        assert not (first.target / "debug" / name).samefile(second.target / "debug" / name)
    first.fresh()
    second.fresh()
    first.clean()
    second.fresh()
    assert second.program("app") == "13\n"


def test_a_target_on_another_filesystem_than_the_store_is_copied_to(box: Sandbox, tmp_path: Path) -> None:
    """Guards CARGO_TARGET_DIR elsewhere: links cannot cross, copies can, and what is recorded there is whole."""
    with small_tmpfs(tmp_path, 256 << 20) as point:
        first, second = box.checkout("a", chain()), box.checkout("second", chain())
        elsewhere = {"CARGO_TARGET_DIR": str(point / "one")}
        first.build(env=elsewhere).expect(misses=3)
        warm = second.build(env={"CARGO_TARGET_DIR": str(point / "two")})
        warm.expect(hits=3, misses=0)
        assert sum(call.copied_bytes for call in warm.calls.all) > 0
        assert sum(call.linked_bytes + call.cloned_bytes for call in warm.calls.all) == 0
        first.build(env=elsewhere).expect(hits=0, misses=0)
        again = box.checkout("third", chain())
        again.build().expect(hits=3, misses=0)
        again.same_bytes_as_plain()
