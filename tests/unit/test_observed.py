"""What the observer noted: the log's grammar, and the judgement on each record."""

from __future__ import annotations

import os
import struct
from functools import partial
from pathlib import Path

import pytest

from kache.compilers.rustc import macro_library
from kache.compilers.rustc.key_inputs import is_keyed_variable
from kache.compilers.rustc.macro_library import CANNOT_TELL, Traits
from kache.compilers.rustc.observed_env import is_quiet, kept_of_whole
from kache.compilers.rustc.observed_inputs import Around, Observed, judge
from kache.compilers.rustc.observed_log import BEFORE, COMPILER, OF_MACRO, TOOL, Record, encode, parse
from tests.support.calls import invocation

HELLO = Record(b"h", COMPILER, b"/toolchain/bin/rustc")


class Tree:
    """A directory, and what a compile in it was seen to do."""

    def __init__(self, path: Path, **env: str) -> None:
        self.path = path
        self.env = {name.encode(): value.encode() for name, value in env.items()}
        self.traits = Traits(walks=False, calls_kernel=False)
        self.keyed: set[bytes] = set()
        self.outputs: set[bytes] = set()

    def file(self, name: str, text: str = "") -> bytes:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return bytes(path)

    def judge(self, *records: Record) -> Observed:
        around = Around(
            partial(is_keyed_variable, call=invocation(out_dir=bytes(self.path))),
            self.env,
            (b"/toolchain/",),
            self.keyed,
            self.outputs,
            lambda _: self.traits,
        )
        found = judge([HELLO, *records], around)
        assert found is not None
        return found


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize("form", ["//{}", "/.{}", "///x/..{}", "{}/.", "//"])
def test_the_odd_forms_in_which_linkers_write_paths_are_the_plain_one(tree: Tree, form: str) -> None:
    present = os.fsdecode(tree.file("lib/libx.so"))
    found = tree.judge(Record(b"r", TOOL, form.format(present).encode()), Record(b"a", TOOL, b"//nowhere/at/all"))
    assert {path for path in found.files if path.startswith(b"//")} == set()
    if form == "//{}":
        assert found.files == {present.encode(): None}
    assert found.absent == {b"/nowhere": None}


def test_a_log_is_read_back() -> None:
    records = [HELLO, Record(b"e", TOOL, b"CI"), Record(b"a", COMPILER, b"/" + b"x" * 300), Record(b"r", TOOL, b"")]
    assert parse(encode(records)) == records


def test_a_log_with_something_missing_is_none() -> None:
    whole = encode([HELLO, Record(b"e", TOOL, b"CI")])
    torn = whole[:1] + b"\0" + whole[2:]
    for log in (b"", b"\1" + whole[1:], torn, whole[:-4], whole + b"e"):
        assert parse(log) is None


def test_files_count_by_content_and_absent_ones_by_absence(tree: Tree) -> None:
    path = tree.file("read.txt")
    found = tree.judge(Record(b"r", COMPILER, path), Record(b"a", COMPILER, bytes(tree.path / "none/at/all")))
    assert list(found.files) == [path]
    assert list(found.absent) == [bytes(tree.path / "none")]


def test_what_is_keyed_made_or_the_toolchains_does_not_count(tree: Tree) -> None:
    keyed, made, output = tree.file("keyed"), tree.file("made/deep"), tree.file("output")
    tree.keyed, tree.outputs = {keyed}, {output}
    found = tree.judge(
        Record(b"r", COMPILER, keyed),
        Record(b"w", COMPILER, bytes(tree.path / "made")),
        Record(b"r", COMPILER, made),
        Record(b"b", TOOL, output),
        Record(b"r", COMPILER, b"/toolchain/lib/x"),
    )
    assert not found.files and not found.gap


def test_a_file_read_before_it_was_written_counts(tree: Tree) -> None:
    path = tree.file("state")
    assert tree.judge(Record(b"r", COMPILER, path), Record(b"w", COMPILER, path)).files
    assert not tree.judge(Record(b"w", COMPILER, path), Record(b"r", COMPILER, path)).files


def test_a_file_that_was_read_and_is_gone_is_a_gap(tree: Tree) -> None:
    path = bytes(tree.path / "gone")
    assert "gone" in tree.judge(Record(b"r", COMPILER, path)).gap
    assert not tree.judge(Record(b"r", TOOL, path)).gap


def test_paths_through_parents_are_the_plain_ones(tree: Tree) -> None:
    path = tree.file("lib/crt1.o")
    tree.file("gcc/12/x")
    assert list(tree.judge(Record(b"r", TOOL, bytes(tree.path) + b"/gcc/12/../../lib/crt1.o")).files) == [path]


def test_who_reads_a_variable_decides(tree: Tree) -> None:
    found = tree.judge(
        Record(b"e", COMPILER, b"TERM"),
        Record(b"e", TOOL, b"LC_ALL"),
        Record(b"E", COMPILER, b"CI"),
        Record(b"e", TOOL, b"LLD_VERSION"),
        Record(b"E", COMPILER, b"CARGO_PKG_NAME"),
    )
    assert list(found.variables) == [b"CI", b"LLD_VERSION"]


def test_a_program_without_a_hello_is_a_gap_behind_macros_only(tree: Tree) -> None:
    path = tree.file("program", "#!/bin/sh\n")
    shell = Record(b"h", TOOL, os.fsencode(os.path.realpath("/bin/sh")))
    assert tree.judge(Record(b"X", COMPILER, path)).gap
    assert not tree.judge(Record(b"X", COMPILER, path), shell).gap
    found = tree.judge(Record(b"x", COMPILER, path))
    assert found.tool_gap and not found.gap and list(found.files) == [path]
    assert tree.judge(Record(b"x", OF_MACRO, path)).gap
    assert not tree.judge(Record(b"X", COMPILER, bytes(tree.path / "nowhere"))).gap


def test_a_program_on_path_counts_by_name(tmp_path: Path) -> None:
    tree = Tree(tmp_path, PATH=str(tmp_path / "bin"))
    path = tree.file("bin/tool")
    hello = Record(b"h", OF_MACRO, path)
    assert list(tree.judge(Record(b"P", COMPILER, b"tool"), hello).programs) == [b"tool"]
    assert tree.judge(Record(b"P", COMPILER, b"tool")).gap
    assert not tree.judge(Record(b"a", TOOL, bytes(tmp_path / "bin/other"))).absent
    tree.keyed = {path}
    assert not tree.judge(Record(b"p", COMPILER, b"tool"), hello._replace(role=TOOL)).programs


def test_macros_that_hide_what_they_do(tree: Tree) -> None:
    loaded = Record(b"m", COMPILER, tree.file("libmacro.so"))
    assert not tree.judge(loaded).whole_environment
    tree.traits = Traits(walks=True, calls_kernel=False)
    assert tree.judge(loaded).whole_environment
    tree.traits = Traits(walks=False, calls_kernel=True)
    assert "libmacro.so" in tree.judge(loaded).gap
    assert not tree.judge(Record(b"m", COMPILER, b"/toolchain/lib/libLLVM.so")).gap


def test_functions_whose_answer_is_not_seen(tree: Tree) -> None:
    assert tree.judge(Record(b"U", COMPILER, b"system")).gap == "system()"
    assert tree.judge(Record(b"u", OF_MACRO, b"glob")).gap == "glob()"
    assert not tree.judge(Record(b"u", TOOL, b"glob")).gap


def test_what_stands_before_the_compiler_is_the_toolchains_affair(tree: Tree) -> None:
    found = tree.judge(Record(b"h", BEFORE, tree.file("rustup")), Record(b"x", BEFORE, b"/toolchain/bin/rustc"))
    assert not found.files and not found.gap


def test_a_compiler_that_was_not_observed_is_no_observation(tree: Tree) -> None:
    around = Around(lambda _: False, {}, (), (), (), lambda _: tree.traits)
    assert judge([Record(b"h", BEFORE, b"/usr/bin/rustup")], around) is None


def test_the_environment_as_a_whole_is_a_closed_list_less() -> None:
    env = dict.fromkeys((b"MY", b"PATH", b"TERM", b"SSH_TTY", b"KACHE_LOG", b"MAKEFLAGS", b"CARGO_HOME"), b"x")
    assert kept_of_whole(env) == [b"CARGO_HOME", b"MY", b"PATH"]
    assert is_quiet(b"RUSTC_LOG_COLOR") and not is_quiet(b"RUSTFLAGS")


def library(path: Path, code: bytes, names: bytes) -> bytes:
    """An ELF file of two segments: names, code."""
    header = b"\x7fELF\x02".ljust(18, b"\0") + struct.pack("<H", 62)
    header = header.ljust(32, b"\0") + struct.pack("<Q", 64)
    header = header.ljust(54, b"\0") + struct.pack("<HH", 56, 2)
    start = 64 + 2 * 56
    segments = struct.pack("<IIQQQQQQ", 1, 4, start, 0, 0, len(names), len(names), 1)
    segments += struct.pack("<IIQQQQQQ", 1, 5, start + len(names), 0, 0, len(code), len(code), 1)
    path.write_bytes(header.ljust(64, b"\0") + segments + names + code)
    return bytes(path)


@pytest.mark.parametrize(
    ("code", "names", "expected"),
    [
        (b"\x90" * 8, b"\0getenv\0", Traits(walks=False, calls_kernel=False)),
        (b"\x90" * 8, b"\0environ\0", Traits(walks=True, calls_kernel=False)),
        (b"\x0f\x05\x48\x3d\x01\xf0", b"\0", Traits(walks=False, calls_kernel=True)),
        # mov eax, [rip + 0x1050f]; lea rax, [rip + 0x50f12]
        (
            b"\x8b\x05\x0f\x05\x01\x00\x90\x48\x8d\x05\x12\x0f\x05\x00\x90",
            b"\0",
            Traits(walks=False, calls_kernel=False),
        ),
    ],
)
def test_what_a_library_may_do(tmp_path: Path, code: bytes, names: bytes, expected: Traits) -> None:
    assert macro_library.traits(library(tmp_path / "x.so", code, names)) == expected


def test_a_library_of_another_kind_may_do_anything(tmp_path: Path) -> None:
    (tmp_path / "x.so").write_bytes(b"MZ")
    assert macro_library.traits(bytes(tmp_path / "x.so")) == CANNOT_TELL
