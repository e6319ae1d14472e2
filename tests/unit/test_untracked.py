"""What of a compile's inputs cargo hears of: the rest keeps its unit from being placed beforehand."""

from __future__ import annotations

import pytest

from kache.compilers.rustc.closure import ENVIRONMENT, Surroundings
from kache.compilers.rustc.roots import Root, Roots
from kache.core.entry import Entry, InputKind, InputMemo, MemoInput
from kache.engine.warm_start.untracked import reads_untracked

ROOTS = Roots(
    (Root(b"<target>", b"/i/app/target", b""), Root(b"<cwd>", b"/i/app", b""), Root(b"<home>", b"/i", b"")), b"/i/app"
)
DEP_INFO = b"out: src/lib.rs src/data\\ base.rs\n\nsrc/lib.rs:\nsrc/data\\ base.rs:\n<home>/words.txt:\n"
ENTRY = Entry(b"k", b"w", "app", "lib", 1, (), "out.d", DEP_INFO, b"", b"", ())


def is_untracked(kind: InputKind, name: bytes) -> bool:
    around = Surroundings(ROOTS, {b"PATH": b"/i/bin:/usr/bin"}, ())
    return reads_untracked(InputMemo(b"w", b"k", (MemoInput(kind, name, b""),)), ENTRY, around)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (InputKind.FILE, b"<cwd>/src/lib.rs"),
        (InputKind.FILE, b"<cwd>/src/data base.rs"),
        (InputKind.FILE, b"<home>/words.txt"),
        (InputKind.FILE, b"<home>/bin/mold"),
        (InputKind.FILE, b"<cargo-home>/registry/src/index/clap-4.0.0/src/macros.rs"),
        (InputKind.FILE, b"<target>/debug/deps/libserde_derive-0123.so"),
        (InputKind.FILE, b"/usr/lib/x86_64-linux-gnu/libbfd.so"),
        (InputKind.ABSENT, b"<cwd>/src/data base/mod.rs"),
        (InputKind.ABSENT, b"<cwd>/src/data base"),
        (InputKind.ABSENT, b"<cwd>/libgcc_s.so.1"),
        (InputKind.ABSENT, b"<cwd>/-lgcc_s"),
        (InputKind.PRESENT, b"<cwd>/src"),
        (InputKind.READ, b"COLLECT_NO_DEMANGLE"),
        (InputKind.ENV, b"CARGO_PKG_DESCRIPTION"),
    ],
)
def test_what_cargo_tracks_and_what_is_the_machines_hinders_nothing(kind: InputKind, name: bytes) -> None:
    assert not is_untracked(kind, name)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (InputKind.FILE, b"<cwd>/src/data"),
        (InputKind.FILE, b"<home>/words"),
        (InputKind.FILE, b"/srv/schema.sql"),
        (InputKind.FILE, b"/usr/src/schema.sql"),
        (InputKind.FILE, b"<cargo-home>/config.toml"),
        (InputKind.FILE, b"<target>/schema.json"),
        (InputKind.ABSENT, b"<cwd>/.env"),
        (InputKind.DIRECTORY, b"<cwd>/migrations"),
        (InputKind.PRESENT, b"<cwd>/migrations"),
        (InputKind.READ, b"DATABASE_URL"),
        (InputKind.READ, b"CARGO_PKG_DESCRIPTION"),
        (InputKind.ENV, b"CARGO_PKG_LICENSE"),
        (InputKind.FACT, ENVIRONMENT),
    ],
)
def test_what_cargo_never_hears_of_keeps_a_unit_out(kind: InputKind, name: bytes) -> None:
    assert is_untracked(kind, name)
