"""Which units are kept and wanted, and what cargo's command line says of a build: pure functions of warm start."""

from __future__ import annotations

from pathlib import Path

import pytest

from kache.cargo import intent
from kache.core.unit import Unit, UnitFile, UnitSet
from kache.engine.warm_start import kept
from kache.engine.warm_start.place import in_order
from kache.engine.warm_start.places import has_room
from kache.engine.warm_start.script_runs import links_outside, told


def unit(name: str, fingerprint: str = "f", *, deps: tuple[str, ...] = (), entry: bytes = b"e", **more: object) -> Unit:
    fields: dict[str, object] = {
        "externs": (),
        "natives": (),
        "cwd": b"<cwd>",
        "is_path": True,
        "tied_to": b"",
        "host": b"",
        "compile_ms": 1,
        "files": (),
    }
    place = {"directory": f"debug/.fingerprint/{name}-0123456789abcdef", "stem": f"lib-{name}"}
    known = {"fingerprint": fingerprint, "deps": deps, "entry_key": entry, "weak_key": b"w"}
    return Unit(**{**place, **known, **fields, **more})  # type: ignore[arg-type]


EMPTY = UnitSet(b"workspace", "debug", b"toolchain", ())


def test_what_builds_leave_adds_up_and_the_newest_version_comes_first() -> None:
    one = kept.merge(EMPTY, [unit("a", entry=b"1", asked_by=("build",)), unit("b")])
    two = kept.merge(one, [unit("a", entry=b"2", asked_by=("build",))])
    assert [(each.stem, each.entry_key) for each in two.units] == [("lib-a", b"2"), ("lib-a", b"1"), ("lib-b", b"e")]
    again = kept.merge(two, [unit("a", entry=b"1", asked_by=("test",))])
    assert (again.units[0].entry_key, again.units[0].asked_by) == (b"1", ("test", "build"))


def test_versions_and_units_that_no_build_has_are_forgotten() -> None:
    found = EMPTY
    for number in range(kept.VERSIONS + 2):
        found = kept.merge(found, [unit("a", entry=b"%d" % number)])
    assert len(found.units) == kept.VERSIONS
    found = kept.merge(found, [unit("gone")])
    for _ in range(kept.KEPT_BUILDS):
        found = kept.merge(found, [unit("a")])
    assert {each.stem for each in found.units} == {"lib-a"}


def test_programs_wait_for_commands_that_ask_for_them() -> None:
    files = (UnitFile("debug/deps/app", 0, executable=True, digest=b"d"),)
    units = [unit("lib"), unit("app", stem="bin-app", files=files, asked_by=("test",))]
    assert list(kept.wanted_by("build", units)) == units[:1]
    assert list(kept.wanted_by("test", units)) == units


def test_a_lock_file_says_which_packages_may_be_wanted(tmp_path: Path) -> None:
    (tmp_path / "Cargo.lock").write_text(
        '[[package]]\nname = "serde"\nversion = "1.0.2"\n\n[[package]]\nname = "own"\nversion = "0.1.0"\n'
    )
    lock = kept.LockFile(bytes(tmp_path))
    sources = b"<cargo-home>/registry/src/index/serde-"
    assert not lock.has(unit("serde", is_path=False, cwd=sources + b"1.0.1"))
    assert lock.has(unit("serde", is_path=False, cwd=sources + b"1.0.2"))
    assert lock.has(unit("own")) and not lock.has(unit("other"))
    assert kept.LockFile(b"/nonexistent").has(unit("other"))


def test_dependencies_come_before_what_depends_on_them_and_versions_in_turn() -> None:
    units = [unit("top", "3", deps=("2",)), unit("mid", "2", deps=("1",), entry=b"new"), unit("leaf", "1")]
    older = unit("mid", "2", deps=("1",), entry=b"old")
    found = [(each.fingerprint, each.entry_key) for each in in_order([*units, older])]
    assert found == [("1", b"e"), ("2", b"new"), ("2", b"old"), ("3", b"e")]


INTENTS = {
    "cargo build": ("build", ("debug",)),
    "cargo +nightly b --release": ("build", ("release",)),
    "cargo test --no-run": ("test", ("debug",)),
    "cargo bench": ("test", ("release",)),
    "cargo check --all-targets": ("check+", ("debug",)),
    "cargo build --profile fast --target x86_64-unknown-linux-gnu": (
        "build",
        ("fast", "x86_64-unknown-linux-gnu/fast"),
    ),
    "cargo run -- --help": ("build", ("debug",)),
    "cargo build --help": None,
    "cargo build --bogus": None,
    "cargo build -v": ("build", ("debug",)),
    "cargo build -vv": None,
    "cargo build -v --verbose": None,
    "cargo metadata": None,
    "cargo": None,
}


@pytest.mark.parametrize("line", INTENTS)
def test_a_command_line_says_what_will_be_built(line: str) -> None:
    found = intent.read(line.encode().split())
    assert (None if found is None else (found.kind, found.profiles())) == INTENTS[line]


OUTPUTS = {
    "cargo:rustc-cfg=x\n": False,
    "cargo:rustc-link-lib=static=z\ncargo:rustc-link-search=native=/t/out/lib\n": False,
    "cargo::rustc-link-search=/t/out\ncargo::rustc-link-lib=z\n": False,
    "cargo:rustc-link-lib=z\n": True,
    "cargo:rustc-link-search=native=/usr/lib\ncargo:rustc-link-lib=z\n": True,
    "cargo:rustc-flags=-l z -L /opt/z\n": True,
    "cargo:rustc-flags=-L /sys -L /t/out -l z\n": True,
    "cargo:rustc-flags=-L/t/out -lz\n": False,
    "cargo:rustc-link-search=/t/out2\n": True,
}


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_run_that_links_what_it_found_is_told_from_one_that_made_it(output: str) -> None:
    assert links_outside(output.encode(), b"/t/out") is OUTPUTS[output]


def test_what_a_run_told_is_alike_in_every_target() -> None:
    one, two = (told(b"cargo:rustc-env=X=" + out + b"/x\n", out) for out in (b"/a/out", b"/b/out"))
    assert one == two != told(b"cargo:rustc-env=X=/c\n", b"/a/out")


def test_nothing_is_placed_where_it_would_leave_no_room(tmp_path: Path) -> None:
    target = bytes(tmp_path / "not" / "there")
    assert has_room(target, 1)
    assert not has_room(target, 1 << 62)
