"""What an artifact of unknown origin was compiled against, read off its bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from kache.compilers.rustc.crate_edges import edges_of

HERE = [b"liba-0123456789abcdef", b"libb-00000000000000aa", b"libplain", b"libodd-77"]


@pytest.mark.parametrize(
    ("content", "needed"),
    [
        (b"nothing", ("libplain", "libodd-77")),
        (b"x\x11-0123456789abcdef\xc1", ("liba-0123456789abcdef", "libplain", "libodd-77")),
        (b"-0123456789abcdef-00000000000000aa", tuple(name.decode() for name in HERE)),
        (b"-0123456789abcde", ("libplain", "libodd-77")),
    ],
)
def test_an_rlib_needs_what_it_names_and_what_cannot_be_told(
    tmp_path: Path, content: bytes, needed: tuple[str, ...]
) -> None:
    path = tmp_path / "libx-1111111111111111.rlib"
    path.write_bytes(content)
    assert edges_of(bytes(path), content, HERE) == needed


def test_a_macro_needs_nothing_and_a_dylib_cannot_be_read(tmp_path: Path) -> None:
    macro, dylib = tmp_path / "libm.so", tmp_path / "libd.so"
    macro.write_bytes(b"\0__rustc_proc_macro_decls_00ff12__\0")
    dylib.write_bytes(b"\0rustc_proc_macro_decls\0")
    assert edges_of(bytes(macro), b"m", HERE) == ()
    assert edges_of(bytes(dylib), b"d", HERE) is None
