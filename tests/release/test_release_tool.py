"""`make release`: one version in all places, fragments gathered, and a tag that is checked before anything is built."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from kache import __version__
from tools import release

ROOT = Path(__file__).parents[2]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """What of a tree a release changes."""
    for name in (*release.PLACES, "CHANGELOG.md", "pyproject.toml", "changes/README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def run(tree: Path, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "tools.release", "--root", str(tree), *words]
    return subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)


def test_fragments_become_a_section_and_the_version_stands_everywhere(tree: Path) -> None:
    (tree / "changes" / "+pears.added.md").write_text("Pears are cached.\n")
    (tree / "changes" / "+plums.fixed.md").write_text("Plums were late.\n")
    made = run(tree, "prepare", "9.8.7")
    assert made.returncode == 0, made.stderr
    assert tomllib.loads((tree / "native/launcher/Cargo.toml").read_text())["package"]["version"] == "9.8.7"
    packages = tomllib.loads((tree / "native/launcher/Cargo.lock").read_text())["package"]
    assert [package["version"] for package in packages] == ["9.8.7"]
    assert '__version__ = "9.8.7"' in (tree / "src/kache/__init__.py").read_text()
    assert 'version: 9.8.7\nappVersion: "9.8.7"' in (tree / "deploy/chart/Chart.yaml").read_text()
    assert [path.name for path in (tree / "changes").iterdir()] == ["README.md"], "each is told once"
    assert run(tree, "check", "v9.8.7").returncode == 0
    notes = run(tree, "notes", "v9.8.7").stdout
    assert notes.split("\n", 1)[0] == "### Added"
    assert "- Pears are cached." in notes and "### Fixed\n\n- Plums were late." in notes
    older = (tree / "CHANGELOG.md").read_text()
    assert older.index("## 9.8.7 (") < older.index(f"## {__version__} (")


def test_a_first_release_dates_what_was_gathered_by_hand(tree: Path) -> None:
    text = (tree / "CHANGELOG.md").read_text()
    if "(unreleased)" not in text:
        pytest.skip("that was the first release")
    made = run(tree, "prepare", __version__)
    assert made.returncode == 0, made.stderr
    assert run(tree, "check", f"v{__version__}").returncode == 0
    assert "(unreleased)" not in (tree / "CHANGELOG.md").read_text()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("prepare", "next"), "'next' is no version"),
        (("prepare", "9.9.9"), "9.9.9 changes nothing"),
        (("check", "v9.9.9"), "the tag is v9.9.9"),
        (("notes", "v9.9.9"), "CHANGELOG.md has no dated section v9.9.9"),
    ],
    ids=["no version", "nothing changed", "another tag", "no section"],
)
def test_what_is_not_fit_for_a_release_says_why(tree: Path, words: tuple[str, ...], says: str) -> None:
    before = {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}
    failed = run(tree, *words)
    assert failed.returncode == 1
    assert f"error[no-release]: {says}" in failed.stderr and "\nfix: " in failed.stderr
    assert {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()} == before


def test_a_fragment_left_over_stops_a_release(tree: Path) -> None:
    (tree / "changes" / "+late.added.md").write_text("Too late.\n")
    failed = run(tree, "check", f"v{__version__}")
    assert "changes/+late.added.md is in no release" in failed.stderr


def test_the_bill_of_materials_names_what_is_installed(tmp_path: Path) -> None:
    made = run(ROOT, "materials", sys.executable, str(tmp_path / "materials.json"))
    assert made.returncode == 0, made.stderr
    document = json.loads((tmp_path / "materials.json").read_text())
    assert document["bomFormat"] == "CycloneDX"
    assert {"kache", "blake3", "obstore", "cryptography"} <= {each["name"] for each in document["components"]}
