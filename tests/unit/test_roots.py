"""Roots: names in keys, stable names in outputs, messages carried from one checkout to another."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kache.compilers.rustc.invocation import Invocation
from kache.compilers.rustc.roots import Root, Roots, discover, is_package, json_escaped, target_dir
from tests.support.calls import invocation


def roots(cwd: bytes = b"/home/me/ws", target: bytes = b"/home/me/ws/target") -> Roots:
    call = invocation(out_dir=target + b"/debug/deps")
    env = {b"HOME": b"/home/me", b"CARGO_HOME": b"/home/me/.cargo"}
    return discover(call, cwd, env, sysroot=b"/opt/rust", base_dir=None)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"src/lib.rs", b"<cwd>/src/lib.rs"),
        (b"/home/me/ws/src/lib.rs", b"<cwd>/src/lib.rs"),
        (b"/home/me/ws", b"<cwd>"),
        (b"/home/me/ws2/src/lib.rs", b"<home>/ws2/src/lib.rs"),
        (b"/home/me/ws/target/debug/x", b"<target>/debug/x"),
        (b"/home/me/.cargo/registry/src/i/a-1.0.0/src/lib.rs", b"<cargo-home>/registry/src/i/a-1.0.0/src/lib.rs"),
        (b"/usr/include/x.h", b"/usr/include/x.h"),
    ],
)
def test_a_path_is_named_after_its_deepest_root(path: bytes, name: bytes) -> None:
    assert roots().normalise(path) == name


@given(st.binary(max_size=40).filter(lambda part: b"\0" not in part))
def test_a_name_leads_back_to_its_path(part: bytes) -> None:
    here = roots()
    for start in (b"/home/me/ws/", b"/home/me/ws/target/", b"/home/me/.cargo/", b"/elsewhere/"):
        assert here.real(here.normalise(start + part)) == start + part


def test_an_unknown_placeholder_names_nothing_that_exists() -> None:
    assert not Path(roots().real(b"<base>/x").decode()).exists()


def test_the_deepest_remap_comes_last_because_the_last_wins_in_rustc() -> None:
    flags = roots().remap_flags()
    assert flags == [
        b"--remap-path-prefix=/home/me/ws=/proc/self/cwd",
        b"--remap-path-prefix=/home/me/.cargo=/cargo",
        b"--remap-path-prefix=/home/me/ws/target=/proc/self/cwd/target",
    ]


def test_a_package_outside_the_workspace_keeps_its_real_path() -> None:
    call = invocation(source=b"/other/dep/src/lib.rs")
    found = discover(call, b"/other/dep", {b"HOME": b"/home/me"}, sysroot=b"/opt/rust", base_dir=None)
    assert found.normalise(b"/other/dep/src/lib.rs") == b"/other/dep/src/lib.rs"
    assert not any(b"/other/dep=" in flag for flag in found.remap_flags())


def test_a_registry_package_is_named_after_cargo_home_alone() -> None:
    package = b"/home/me/.cargo/registry/src/i/a-1.0.0"
    call = invocation(source=package + b"/src/lib.rs")
    env = {b"HOME": b"/home/me"}
    found = discover(call, package, env, sysroot=b"/opt/rust", base_dir=None)
    assert found.normalise(package) == b"<cargo-home>/registry/src/i/a-1.0.0"


def test_needles_are_the_outermost_remapped_roots() -> None:
    assert set(roots().needles()) == {
        b"/home/me/ws",
        b"/home/me/.cargo",
    }
    tied = {root.placeholder for root in roots().tied_to(b"/home/me/ws")}
    assert tied == {b"<cwd>", b"<target>"}


def test_messages_move_from_one_checkout_to_another() -> None:
    there = roots(b"/home/you/checkouts/ws", b"/home/you/checkouts/ws/target")
    said = (
        b'{"artifact":"/home/me/ws/target/debug/deps/liba.rmeta"}\n'
        b'{"rendered":"--> /proc/self/cwd/target/debug/build/a/out/gen.rs:1:1"}\n'
        b'{"rendered":"/home/me/ws2 stays, so does <cwd>"}\n'
    )
    moved = there.from_template(roots().to_template(said, json=True), json=True)
    assert moved == (
        b'{"artifact":"/home/you/checkouts/ws/target/debug/deps/liba.rmeta"}\n'
        b'{"rendered":"--> /home/you/checkouts/ws/target/debug/build/a/out/gen.rs:1:1"}\n'
        b'{"rendered":"/home/me/ws2 stays, so does <cwd>"}\n'
    )


def test_paths_with_quotes_are_escaped_in_json() -> None:
    assert json_escaped(b'/a "b"\\c\n') == b'/a \\"b\\"\\\\c\\u000a'
    assert json_escaped("/ä".encode()) == "/ä".encode()


def test_the_target_dir_is_the_nearest_tagged_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    deps = target / "x86_64-unknown-linux-gnu" / "debug" / "deps"
    deps.mkdir(parents=True)
    assert target_dir(bytes(deps)) == bytes(target / "x86_64-unknown-linux-gnu")  # by shape alone: without a tag
    (target / "CACHEDIR.TAG").touch()
    assert target_dir(bytes(deps)) == bytes(target)


def test_base_dir_is_a_root() -> None:
    call: Invocation = invocation()
    found = discover(call, b"/big/repo/ws", {}, sysroot=b"/opt/rust", base_dir=b"/big/repo/")
    assert Root(b"<base>", b"/big/repo", b"/kache/base") in found.all


def test_what_lies_below_cargo_home_and_is_no_download_is_somebodys_own() -> None:
    """A workspace, or a path dependency, in the directory that is CARGO_HOME as well."""
    assert is_package(b"<cargo-home>/registry/src/index/serde-1.0.0")
    assert is_package(b"<cargo-home>/git/checkouts/serde-0123/abc")
    assert not is_package(b"<cargo-home>/own") and not is_package(b"<cargo-home>") and not is_package(b"<cwd>/src")
