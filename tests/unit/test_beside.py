"""Which inputs tie a compile to the directory its checkout is in."""

from __future__ import annotations

import pytest

from kache.compilers.rustc.beside import above
from kache.compilers.rustc.roots import Root, Roots

CHECKOUT = b"above <cwd>"


def roots(cwd: bytes = b"/people/i/work/app", home: bytes = b"/people/i") -> Roots:
    found = [
        Root(b"<target>", cwd + b"/target", b""),
        Root(b"<cwd>", cwd, b""),
        Root(b"<cargo-home>", home + b"/.cargo", b""),
        Root(b"<home>", home, b""),
    ]
    return Roots(tuple(sorted(found, key=lambda root: -len(root.path))), cwd)


@pytest.mark.parametrize(
    "path",
    [b"/people/i/work/.env", b"/people/i/.env", b"/people/.env", b"/.env", b"/people/i/work/other/schema.sql"],
)
def test_what_a_search_upward_meets_ties_to_where_the_checkout_is(path: bytes) -> None:
    assert CHECKOUT in above(path, roots(), is_directory=False)


@pytest.mark.parametrize(
    "path", [b"/usr/share/zoneinfo/UTC", b"/etc/localtime", b"/opt/sdk/include/a.h", b"/lib/x86_64-linux-gnu/libc.so.6"]
)
def test_what_is_the_machines_ties_to_nothing(path: bytes) -> None:
    assert above(path, roots(), is_directory=False) == []
    assert above(path, roots(b"/usr/src/app", b"/you"), is_directory=False) == []


def test_what_is_below_a_root_ties_to_nothing() -> None:
    for path in (
        b"/people/i/work/app/src/a.sql",
        b"/people/i/work/app/target/x",
        b"/people/i/.cargo/registry/a/b.rs",
    ):
        assert above(path, roots(), is_directory=False) == []


def test_directories_on_the_way_are_always_there() -> None:
    for path in (b"/people", b"/people/i", b"/people/i/work", b"/people/i/work/app", b"/usr", b"/"):
        assert above(path, roots(), is_directory=True) == []
    assert CHECKOUT in above(b"/people/i/work/.git", roots(), is_directory=True)
    assert CHECKOUT in above(b"/people/i/work", roots(), is_directory=True, is_listed=True)


def test_a_listing_of_what_is_the_machines_ties_to_nothing() -> None:
    for path in (b"/lib", b"/usr/lib", b"/"):
        assert above(path, roots(), is_directory=True, is_listed=True) == []


def test_a_target_in_the_checkout_ties_to_nothing_of_its_own() -> None:
    assert above(b"/people/i/work/.env", roots(), is_directory=False) == [CHECKOUT]


def test_a_package_of_the_registry_is_tied_by_what_lies_above_cargo_home() -> None:
    """Its working directory is below that root and has no name of its own."""
    found = Roots((Root(b"<cargo-home>", b"/ci/cargo", b""), Root(b"<home>", b"/you", b"")), b"/ci/cargo/registry/a")
    assert above(b"/ci/.env", found, is_directory=False) == [b"above <cargo-home>"]
    assert above(b"/you/.config/a.toml", found, is_directory=False) == []
