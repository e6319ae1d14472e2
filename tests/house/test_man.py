"""The man pages are what the parsers say, and a formatter has nothing to object to."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tools.man import MAN, pages


def test_pages_are_current() -> None:
    written = {path.name: path.read_text() for path in MAN.glob("*.1")}
    assert written == pages(), "run make docs"


@pytest.mark.skipif(shutil.which("groff") is None, reason="needs groff")
def test_groff_formats_them_without_a_word() -> None:
    for name, text in pages().items():
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"], input=text, capture_output=True, text=True, check=True
        )
        assert done.stderr == "", f"{name}: {done.stderr}"
