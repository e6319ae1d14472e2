"""The launcher's own lists, read from its source: they must agree with the package."""

from __future__ import annotations

import re
from pathlib import Path

from kache.cli.verbs import VERBS
from kache.ipc import lifecycle

LAUNCHER = Path(__file__).parents[2] / "native" / "launcher" / "src"


def rust_list(file: str, name: str) -> list[str]:
    """The texts of a `const NAME: [&str; N] = [...]`."""
    found = re.search(rf"const {name}: \[&str; \d+\] =\s*\[(.*?)\];", (LAUNCHER / file).read_text(), re.DOTALL)
    assert found is not None, f"{file} has no list {name}"
    return re.findall(r'"([^"]*)"', found[1])


def test_the_launcher_knows_every_verb() -> None:
    known = rust_list("program.rs", "VERBS")
    assert [verb.name for verb in VERBS if verb.name not in known] == []
    assert len(set(known)) == len(known)


def test_both_start_the_daemon_with_the_same_environment() -> None:
    assert set(rust_list("python.rs", "KEPT")) == lifecycle._KEPT
    assert tuple(rust_list("python.rs", "KEPT_PREFIXES")) == lifecycle._KEPT_PREFIXES
    assert tuple(rust_list("python.rs", "KEPT_SUFFIXES")) == lifecycle._KEPT_SUFFIXES
