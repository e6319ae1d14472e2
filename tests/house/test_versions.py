"""One version, in the package, the launcher's manifest and its lock file."""

from __future__ import annotations

import tomllib
from pathlib import Path

from kache import __version__

ROOT = Path(__file__).parents[2]
LAUNCHER = ROOT / "native" / "launcher"


def test_package_launcher_and_lock_file_agree() -> None:
    package = tomllib.loads((LAUNCHER / "Cargo.toml").read_text())["package"]
    assert package["version"] == __version__
    locked = tomllib.loads((LAUNCHER / "Cargo.lock").read_text())["package"]
    assert [entry["version"] for entry in locked if entry["name"] == package["name"]] == [__version__]


def test_the_chart_is_of_this_version() -> None:
    chart = (ROOT / "deploy" / "chart" / "Chart.yaml").read_text()
    assert f'\nversion: {__version__}\nappVersion: "{__version__}"\n' in chart


def test_the_launcher_depends_on_the_standard_library_alone() -> None:
    manifest = tomllib.loads((LAUNCHER / "Cargo.toml").read_text())
    assert not {"dependencies", "build-dependencies"} & set(manifest)
    assert len(tomllib.loads((LAUNCHER / "Cargo.lock").read_text())["package"]) == 1


def test_the_newest_changes_are_of_this_version() -> None:
    headings = [line for line in (ROOT / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].startswith(f"## {__version__} (")
