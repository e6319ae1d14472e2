"""Pictures in the documentation are those that `make pictures` makes, and it makes them of a real project."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.support.projects import hello
from tests.support.sandbox import toolchain_bin
from tools import pictures

ROOT = Path(__file__).parents[2]
_SHOWN = re.compile(r"!\[[^\]]+\]\((?:[\w./-]*/)?pictures/([\w.-]+)\)")


def test_each_picture_is_made_by_the_script_and_shown_on_a_page() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    shown = {name for page in pages for name in _SHOWN.findall(page.read_text())}
    there = {path.name for path in pictures.PICTURES.iterdir()}
    assert shown == there == set(pictures.NAMES)


def test_pictures_fetch_nothing_and_name_no_directory_of_their_makers_machine() -> None:
    for path in pictures.PICTURES.glob("*.svg"):
        text = path.read_text()
        assert not re.search(r"@font-face|@import|(?:href|src)=\"?http|url\(['\"]?http", text), path.name
        named = re.findall(r"(?<![\w/.:])/(?:root|home|tmp|opt|srv|mnt|work|Users)/[\w./-]+", text)
        assert all(place.startswith("/tmp/demo-") for place in named), path.name


@pytest.mark.skipif(not any(map(shutil.which, pictures.BROWSERS)), reason="needs chromium")
def test_the_script_makes_them_of_a_project(tmp_path: Path) -> None:
    project = tmp_path / "hello"
    for name, text in hello().items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text)
    subprocess.run([toolchain_bin() / "cargo", "generate-lockfile", "--offline", "--quiet"], cwd=project, check=True)
    argv = [sys.executable, "-m", "tools.pictures", "--project", str(project), "--out", str(tmp_path / "out")]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(pictures.NAMES)
    said = " ".join("".join(ET.parse(tmp_path / "out" / pictures.RECORDING).getroot().itertext()).split())
    assert "kache: 0 of 2 compiles from the cache (0 %)" in said, "the first checkout"
    assert "kache: 2 of 2 compiles from the cache (100 %)" in said, "the second one"
    assert "kache why-miss" in said
    assert (tmp_path / "out" / pictures.REPORT).read_bytes().startswith(b"\x89PNG")
