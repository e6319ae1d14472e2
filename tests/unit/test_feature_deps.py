"""What a choice of features can want of a lock file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kache.cargo import lock_packages
from kache.cargo.feature_deps import reachable

MANIFEST = """[package]
name = "app"
version = "0.1.0"
[features]
default = ["serve", "search"]
serve = ["dep:web"]
search = ["index/fast"]
maybe = ["web?/tls"]
[dependencies]
plain = "1"
web = { version = "1", optional = true }
index = { version = "1", optional = true }
renamed = { version = "1", package = "other", optional = true }
[target.'cfg(unix)'.dependencies]
unixy = "1"
[build-dependencies]
builder = "1"
[dev-dependencies]
tester = "1"
"""
NEEDS = {
    "app": ["builder", "index", "other", "plain 1.0.0", "tester", "unixy", "web"],
    "web": ["net", "shared"],
    "index": ["shared"],
    "plain": [],
    "tester": ["shared"],
}
BASE = {"app", "plain", "unixy", "builder"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rows = []
    for name in sorted({*NEEDS, *(each.split()[0] for needs in NEEDS.values() for each in needs)}):
        source = "" if name == "app" else 'source = "registry+x"\n'
        needs = ", ".join(f'"{each}"' for each in NEEDS.get(name, []))
        version = "0.1.0" if name == "app" else "1.0.0"
        rows.append(f'[[package]]\nname = "{name}"\nversion = "{version}"\n{source}dependencies = [{needs}]\n')
    (tmp_path / "Cargo.lock").write_text("\n".join(rows))
    (tmp_path / "Cargo.toml").write_text(MANIFEST)
    return tmp_path


def names(root: Path, *chosen: str, dev: bool = False) -> set[str] | None:
    lock = lock_packages.read(bytes(root))
    found = reachable(bytes(root), lock.needs, lock.members, chosen, dev=dev)
    return None if found is None else {name for name, _ in found}


@pytest.mark.parametrize(
    ("chosen", "more"),
    [
        ((), {"web", "net", "shared", "index"}),
        (("-*",), set()),
        (("-*", "+serve"), {"web", "net", "shared"}),
        (("-*", "+search"), {"index", "shared"}),
        (("-*", "+maybe"), set()),
        (("-*", "+renamed"), {"other"}),
        (("-*", "+app/serve"), {"web", "net", "shared"}),
    ],
)
def test_only_what_a_feature_leads_to_is_wanted(root: Path, chosen: tuple[str, ...], more: set[str]) -> None:
    assert names(root, *chosen) == BASE | more


def test_tests_want_what_is_for_tests(root: Path) -> None:
    assert names(root, "-*", dev=True) == BASE | {"tester", "shared"}


def test_where_it_cannot_be_told_everything_may_be_wanted(root: Path) -> None:
    assert names(root, "+*") is None
    (root / "Cargo.toml").write_text("[workspace]\nmembers = ['a']\n")
    assert names(root) is None
