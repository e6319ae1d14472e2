"""The installed kache is the tree's: end-to-end tests run it, and a stale one would test last week's code."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

SRC = Path(__file__).parents[2] / "src" / "kache"


def test_the_installed_package_equals_the_tree() -> None:
    installed = Path(sysconfig.get_path("purelib"), "kache")
    if not installed.is_dir():
        pytest.skip("kache is not installed in this environment")
    assert contents(installed) == contents(SRC), "run make setup"


def contents(package: Path) -> dict[str, bytes]:
    """File name to bytes of every module."""
    return {str(path.relative_to(package)): path.read_bytes() for path in sorted(package.rglob("*.py"))}
