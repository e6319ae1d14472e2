"""Dep-info files: read exactly what rustc writes, refuse what is ambiguous, carry paths to another checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kache.compilers.rustc.depinfo import DepInfo, DepInfoError, fill, parse, template

TEXT = rb"""/ws/t/d ir/libx.rlib: src/lib.rs src/a\ b.rs /ws/t/out/gen.rs /ws2/y.rs

/ws/t/d ir/x.d: src/lib.rs src/a\ b.rs /ws/t/out/gen.rs /ws2/y.rs

src/lib.rs:
src/a\ b.rs:
/ws/t/out/gen.rs:
/ws2/y.rs:

# env-dep:ABSENT
# env-dep:EMPTY=
# env-dep:LINES=a\nb\rc\\d
# env-dep:OUT_DIR=/ws/t/out
# env-dep:PATHS=/ws/a:/ws2/b:x/ws/c
"""
ROOTS = ((b"/ws", b"<ws>"), (b"/ws/t", b"<t>"))


def written(*names: bytes, env: bytes = b"") -> bytes:
    """A file as rustc writes it for an output `x.d`."""
    escaped = [name.replace(b" ", b"\\ ") for name in names]
    return b"x.d: " + b" ".join(escaped) + b"\n\n" + b"".join(name + b":\n" for name in escaped) + b"\n" + env


def test_files_and_environment() -> None:
    assert parse(TEXT) == DepInfo(
        (b"src/lib.rs", b"src/a b.rs", b"/ws/t/out/gen.rs", b"/ws2/y.rs"),
        (
            (b"ABSENT", None),
            (b"EMPTY", b""),
            (b"LINES", b"a\nb\rc\\d"),
            (b"OUT_DIR", b"/ws/t/out"),
            (b"PATHS", b"/ws/a:/ws2/b:x/ws/c"),
        ),
    )


@pytest.mark.parametrize(
    "name",
    [
        b"h#x.rs",
        b"c:d.rs",
        b"do$x.rs",
        b"ba\\ck.rs",
        b"a\\ b.rs",
        b"colon: b.rs",
        b"tr .rs",
        b"\xff.rs",
        b"cr\rx",
        b"end:",
    ],
)
def test_odd_names_are_read_as_they_are(name: bytes) -> None:
    assert parse(written(b"lib.rs", name)).files == (b"lib.rs", name)


@pytest.mark.parametrize("name", [b"nl\nx.rs", b"nl:\nx.rs", b"x: y\nz.rs", b"a\n# b", b"a\n"])
def test_a_name_with_a_newline_is_refused(name: bytes) -> None:
    for names in ((b"lib.rs", name), (name, b"lib.rs"), (name,)):
        with pytest.raises(DepInfoError):
            parse(written(*names))


def test_a_name_that_ends_in_a_backslash_is_never_read_as_two() -> None:
    with pytest.raises(DepInfoError):
        parse(written(b"end\\", b"lib.rs"))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"x.d: a.rs",
        b"x.d: a.rs\n",
        b"x.d: a.rs\n\nb.rs:\n",
        b"x.d: a.rs\n\na.rs:\nb.rs:\n",
        b"x.d: a.rs\ny.d: b.rs\na.rs:\n",
        b"o: ut/x.d: a.rs\n\na.rs:\n",
        b"# env-dep:A=\\x\n",
        b"nonsense\n",
        TEXT[:-1],
        TEXT[:100],
    ],
)
def test_files_cut_short_or_of_another_form_are_refused(text: bytes) -> None:
    with pytest.raises(DepInfoError):
        parse(text)


def test_windows_line_ends_and_checksums() -> None:
    text = written(b"a.rs", env=b"# checksum:blake3=00 file_len:0 a.rs\n# env-dep:A=b\n")
    assert parse(text) == parse(text.replace(b"\n", b"\r\n")) == DepInfo((b"a.rs",), ((b"A", b"b"),))


def test_template_replaces_whole_directories_at_the_start_of_paths() -> None:
    made = template(TEXT, ROOTS)
    assert b"<t>/d ir/libx.rlib: src/lib.rs src/a\\ b.rs <t>/out/gen.rs /ws2/y.rs\n" in made
    assert b"# env-dep:OUT_DIR=<t>/out\n" in made
    assert b"# env-dep:PATHS=<ws>/a:/ws2/b:x/ws/c\n" in made
    assert fill(made, ROOTS) == TEXT


def test_another_checkout_gets_what_rustc_would_have_written_there() -> None:
    there = fill(template(TEXT, ROOTS), ((b"/my dir", b"<ws>"), (b"/tar\\get", b"<t>")))
    assert b"/tar\\get/d ir/x.d: src/lib.rs src/a\\ b.rs /tar\\get/out/gen.rs /ws2/y.rs\n" in there
    assert b"# env-dep:OUT_DIR=/tar\\\\get/out\n" in there
    assert b"# env-dep:PATHS=/my dir/a:/ws2/b:x/ws/c\n" in there
    back = fill(template(written(b"/ws/a.rs"), ROOTS), ((b"/my dir", b"<ws>"), (b"/t", b"<t>")))
    assert back == written(b"/my dir/a.rs")


def test_a_root_with_a_blank_and_one_that_is_its_beginning() -> None:
    roots = ((b"/my", b"<my>"), (b"/my dir", b"<dir>"))
    text = b"/my dir/x.d: /my\\ dir/a.rs /my/b.rs\n\n/my\\ dir/a.rs:\n/my/b.rs:\n\n# env-dep:A=/my dir/c\n"
    made = template(text, roots)
    assert made == b"<dir>/x.d: <dir>/a.rs <my>/b.rs\n\n<dir>/a.rs:\n<my>/b.rs:\n\n# env-dep:A=<dir>/c\n"
    assert fill(made, roots) == text


def test_fill_writes_the_values_of_this_call() -> None:
    made = fill(template(TEXT, ROOTS), ROOTS, {b"OUT_DIR": b"/else\nwhere", b"ABSENT": b"now", b"OTHER": b"x"})
    assert b"# env-dep:OUT_DIR=/else\\nwhere\n" in made
    assert b"# env-dep:ABSENT=now\n" in made
    assert b"# env-dep:EMPTY=\n" in made
    assert b"OTHER" not in made


def test_a_text_that_holds_a_placeholder_is_refused() -> None:
    with pytest.raises(DepInfoError):
        template(written(b"<ws>/a.rs"), ROOTS)


PIECE = st.sampled_from(
    [b"/ws", b"/ws/t", b"/", b" ", b"\\ ", b"\\", b":", b": ", b"\n", b"# env-dep:", b"=", b"a.rs", b"\r"]
)
NOISE = st.lists(st.one_of(PIECE, st.binary(max_size=3)), max_size=20).map(b"".join)


@given(NOISE)
def test_noise_is_read_or_refused_and_survives_a_round_trip(text: bytes) -> None:
    with suppress(DepInfoError):
        parse(text)
    roots = ((b"/ws", b"\x00w\x00"), (b"/ws/t", b"\x00t\x00"), (b"/a b", b"\x00b\x00"))
    try:
        made = template(text, roots)
        again = fill(made, roots)
    except DepInfoError:
        return
    assert again == text


NAME = st.binary(min_size=1, max_size=8).filter(lambda name: b"\n" not in name and not name.endswith(b"\\"))


@given(st.lists(NAME, min_size=1, max_size=5, unique=True))
def test_what_is_written_is_read_back_or_refused(names: list[bytes]) -> None:
    try:
        assert parse(written(*names)).files == tuple(names)
    except DepInfoError:
        # only bytes that rustc's own form cannot tell apart
        assert any(b"#" in name[:1] or b": " in written(name)[5:] or name[-1:] in b":\r" for name in names)


@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs rustc")
def test_rustc_itself(tmp_path: Path) -> None:
    names = ["a b.rs", "h#x.rs", "c:d.rs", "do$x.rs", "colon: b.rs", "ü.rs"]
    for name in names:
        (tmp_path / name).touch()
    modules = "".join(f'#[path = "{name}"] mod m{index};\n' for index, name in enumerate(names))
    (tmp_path / "lib.rs").write_text(
        modules + 'pub const A: Option<&str> = option_env!("AA"); pub const B: &str = env!("BB");\n'
    )
    (tmp_path / "o ut").mkdir()
    command = ["rustc", "--crate-type=lib", "--emit=dep-info,metadata", "--out-dir=o ut", "lib.rs"]
    subprocess.run(command, cwd=tmp_path, env={**os.environ, "BB": "a b\nc\\d"}, check=True)
    found = parse((tmp_path / "o ut" / "lib.d").read_bytes())
    assert found.files == tuple(os.fsencode(name) for name in ["lib.rs", *names])
    assert found.env == ((b"AA", None), (b"BB", b"a b\nc\\d"))
