"""Directories laid out in a way that is not known: nothing is placed there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kache.cargo import intent, workspace

LAYOUT = "build-dir-new-layout"


@pytest.mark.parametrize("words", [[f"-Z{LAYOUT}"], ["-Z", LAYOUT]], ids=["one word", "two words"])
def test_a_flag_for_the_new_layout_is_no_intent_of_ours(words: list[str]) -> None:
    """Guards `cargo -Z`: where each unit has a directory of its own, nobody would look at what was placed."""
    assert intent.read([b"cargo", b"build", b"-Zchecksum-freshness"]) is not None
    assert intent.read([b"cargo", b"build", *(word.encode() for word in words)]) is None


@pytest.mark.parametrize(
    ("variable", "config", "found"),
    [
        ("", "", True),
        ("false", "", True),
        ("true", "", False),
        ("", "[unstable]\nbuild-dir-new-layout = true\n", False),
        ("", "[unstable]\nbuild-dir-new-layout = false\n", True),
    ],
)
def test_a_workspace_with_the_new_layout_is_left_alone(tmp_path: Path, variable: str, config: str, found: bool) -> None:
    """Guards the same said by a variable or a file."""
    (tmp_path / ".cargo").mkdir()
    (tmp_path / ".cargo" / "config.toml").write_text(config)
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "a"\n[workspace]\n')
    build = intent.read([b"cargo", b"build"])
    env = {b"HOME": os.fsencode(tmp_path), b"CARGO_UNSTABLE_BUILD_DIR_NEW_LAYOUT": variable.encode()}
    if not variable:
        env.popitem()
    assert build is not None
    assert (workspace.find(build, os.fsencode(tmp_path), env) is not None) == found
