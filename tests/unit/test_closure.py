"""Closures: what a compile read, as typed inputs, and when they still hold."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc.closure import ClosureMaker, InputChangedError, Surroundings, matches, watched
from kache.compilers.rustc.depinfo import DepInfo
from kache.compilers.rustc.roots import Root, Roots
from kache.core.entry import InputKind, InputMemo, MemoInput

LATER_NS = 2**62


class Checkout:
    """A source tree and an environment, with what a closure needs of them."""

    def __init__(self, path: Path, **env: str) -> None:
        self.path = path
        (path / "src").mkdir(parents=True)
        self.write("src/lib.rs", "mod a;")
        self.write("src/a.rs", "")
        roots = Roots((Root(b"<cwd>", bytes(path), b"/proc/self/cwd"),), bytes(path))
        environment = {name.encode(): value.encode() for name, value in env.items()}
        self.around = Surroundings(roots, environment, (b"--color=never",))
        self.digests = FileDigests()

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def closure(self, *env: str, diagnostics: bool = False, started_ns: int = LATER_NS) -> InputMemo:
        maker = ClosureMaker(self.around, self.digests, started_ns, list)
        info = DepInfo((b"src/lib.rs", b"src/a.rs"), tuple((name.encode(), None) for name in env))
        maker.add_sources(info)
        return InputMemo(b"w", b"k", maker.finish(info, tied=(), has_diagnostics=diagnostics))

    def holds(self, memo: InputMemo) -> bool:
        return matches(memo, self.around, self.digests, {})


def test_the_same_files_in_another_checkout_are_the_same_closure(tmp_path: Path) -> None:
    one, two = Checkout(tmp_path / "one"), Checkout(tmp_path / "elsewhere" / "two")
    assert two.holds(one.closure())
    two.write("src/a.rs", "// edited")
    assert not two.holds(one.closure())


def test_a_module_that_would_shadow_another_must_stay_absent(tmp_path: Path) -> None:
    box = Checkout(tmp_path / "one")
    memo = box.closure()
    assert MemoInput(InputKind.ABSENT, b"<cwd>/src/a/mod.rs", b"") in memo.inputs
    (box.path / "src" / "a").mkdir()
    assert box.holds(memo)
    box.write("src/a/mod.rs", "")
    assert not box.holds(memo)


def test_unset_empty_and_set_variables_are_three_things(tmp_path: Path) -> None:
    boxes = [Checkout(tmp_path / "u"), Checkout(tmp_path / "e", V=""), Checkout(tmp_path / "s", V="x")]
    for box in boxes:
        memo = box.closure("V")
        assert [other.holds(memo) for other in boxes] == [other is box for other in boxes]


def test_how_messages_look_counts_only_if_there_are_any(tmp_path: Path) -> None:
    box = Checkout(tmp_path / "one")
    silent, noisy = box.closure(), box.closure(diagnostics=True)
    box.around = Surroundings(box.around.roots, {}, (b"--color=always",))
    assert box.holds(silent) and not box.holds(noisy)


def test_a_file_written_after_the_compile_began_is_no_known_input(tmp_path: Path) -> None:
    box = Checkout(tmp_path / "one")
    with pytest.raises(InputChangedError):
        box.closure(started_ns=0)
    os.unlink(box.path / "src/a.rs")
    with pytest.raises(InputChangedError):
        box.closure()


@pytest.mark.parametrize(
    ("source", "portable"),
    [
        ('include!(concat!(env!("OUT_DIR"), "/g.rs"));', True),
        ('include_str! ( concat ! [ env!{"OUT_DIR"} , "/g.rs" ] );', True),
        ('include!(env!("OUT_DIR"));', True),
        ('const D: &str = env!("OUT_DIR");', False),
        ('include!(concat!(env!("OUT_DIR"), "/g.rs")); const N: usize = env!("OUT_DIR").len();', False),
        ("// another crate's macro names it", False),
    ],
)
def test_a_path_in_a_variable_travels_only_if_it_serves_to_include(tmp_path: Path, source: str, portable: bool) -> None:
    one = Checkout(tmp_path / "one", OUT_DIR=str(tmp_path / "one" / "out"))
    two = Checkout(tmp_path / "two", OUT_DIR=str(tmp_path / "two" / "out"))
    for box in (one, two):
        box.write("src/a.rs", source)
    assert two.holds(one.closure("OUT_DIR")) is portable
    assert one.holds(one.closure("OUT_DIR"))


def test_a_fact_ties_an_entry_to_its_place(tmp_path: Path) -> None:
    one, two = Checkout(tmp_path / "one"), Checkout(tmp_path / "two")
    maker = ClosureMaker(one.around, one.digests, LATER_NS, list)
    info = DepInfo((b"src/lib.rs",), ())
    maker.add_sources(info)
    memo = InputMemo(b"w", b"k", maker.finish(info, tied=(b"<cwd>",), has_diagnostics=False))
    assert one.holds(memo) and not two.holds(memo)


def test_watched_paths_are_real_ones(tmp_path: Path) -> None:
    box = Checkout(tmp_path / "one")
    present, absent = watched(box.closure(), box.around)
    assert present == [bytes(box.path / "src/lib.rs"), bytes(box.path / "src/a.rs")]
    assert absent == [bytes(box.path / "src/a/mod.rs")]


def test_a_digest_is_remembered_only_of_a_file_that_had_settled(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_text("one")
    digests = FileDigests()
    fresh = digests.digest(bytes(path))
    assert digests.known(path.stat()) is None
    before = time.time() - 10
    os.utime(path, (before, before))
    assert digests.digest(bytes(path)) == fresh
    # Its ctime is of now, so it is not settled, whatever its mtime says.
    assert digests.known(path.stat()) is None


def test_a_noted_file_is_known_until_it_changes(tmp_path: Path) -> None:
    from kache.core.entry import FileIdentity

    path = tmp_path / "f"
    path.write_text("one" * 10_000)
    digests = FileDigests()
    digests.note(FileIdentity.of(path.stat()), b"d" * 32)
    assert digests.digest(bytes(path)) == b"d" * 32
    assert list(digests.unsaved().values()) == [b"d" * 32] and not digests.unsaved()
    path.write_text("two!")
    assert digests.digest(bytes(path)) != b"d" * 32


def test_no_digest_of_a_directory(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        FileDigests().digest(bytes(tmp_path))
