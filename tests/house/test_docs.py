"""Prose that names files names files that exist, and the map of the tree has every part of it."""

from __future__ import annotations

import re

import pytest

from tests.house.test_tree import ROOT, tracked

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("*.md")) + sorted(
    path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")
)
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
NAMED = re.compile(r"`((?:src|tests|native|bench|tools|docs|\.ci)/[\w./-]+)`")


@pytest.mark.parametrize("page", PAGES)
def test_links_and_named_files_exist(page: str) -> None:
    path = ROOT / page
    text = path.read_text()
    links = [" ".join(link.split()) for link in LINK.findall(text)]
    broken = [link for link in links if not (path.parent / link).exists()]
    # What a benchmark or a build leaves behind is named before it is there.
    absent = [name for name in NAMED.findall(text) if not (ROOT / name).exists() and not name.startswith("bench/")]
    assert not broken + absent


def test_the_architecture_names_every_module() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text()
    modules = [path for path in tracked() if path.is_relative_to(ROOT / "src" / "kache") and path.suffix == ".py"]
    listed_by_pattern = {"commands", "checks", "render"}
    missing = [
        path.relative_to(ROOT).as_posix()
        for path in modules
        if not path.stem.startswith("__")
        and not listed_by_pattern & set(path.parts)
        and not re.search(rf"\b{path.stem}\b", text)
    ]
    assert not missing


def test_every_decision_is_listed() -> None:
    listed = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert not [path.name for path in (ROOT / "docs" / "decisions").glob("0*.md") if path.name not in listed]
