"""A long history of edits of a real workspace: each build in a fresh checkout and in a warm tree, against plain cargo.

The measure is one tree that plain cargo builds all along: the same artifacts, byte for byte, and nothing compiled in
the fresh checkout that plain cargo did not compile there.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support import oracle
from tests.support.checkout import Built, Checkout
from tests.support.real_workspace import VERSIONS, ripgrep
from tests.support.sandbox import Sandbox

STEPS = 7
"""Of a seed: twice as many builds."""
COMMANDS = (
    *((("build",),) * 5),
    *((("check",),) * 3),
    *((("test", "--no-run"),) * 2),
    ("build", "--workspace"),
    ("check", "--workspace", "--tests", "--bins"),
    ("build", "--features", "pcre2"),
    ("build", "--tests", "--examples"),
)
VARIABLES: tuple[dict[str, str], ...] = (
    *(({},) * 20),
    {"CARGO_PROFILE_DEV_DEBUG": "0"},
    {"RUSTFLAGS": "-Cforce-frame-pointers=yes"},
    {"CARGO_PROFILE_DEV_PANIC": "abort"},
)
OVERRIDE = b'\n[profile.dev.package."memchr"]\nopt-level = '


@dataclass
class History:
    """The sources, and what happens to them.

    Attributes:
        dice: decides.
        branches: the versions that take turns.
        files: the sources now.
        past: the sources at each step.
    """

    dice: random.Random
    branches: list[dict[str, bytes]]
    files: dict[str, bytes] = field(default_factory=dict)
    past: list[dict[str, bytes]] = field(default_factory=list)

    def edit(self) -> list[str]:
        """Change something; the files whose date alone changes."""
        self.past.append(dict(self.files))
        chance = self.dice.random()
        if chance < 0.5:
            name = self.dice.choice([name for name in self.files if name.endswith(".rs") and "/src/" in f"/{name}"])
            added = f"\n#[allow(dead_code)]\nfn added_{self.dice.randrange(10**9)}() {{}}\n"
            self.files[name] += added.encode()
        elif chance < 0.65:
            return [self.dice.choice(list(self.files))]
        elif chance < 0.8:
            self.files = dict(self.dice.choice(self.past))
        elif chance < 0.9:
            self.files = dict(self.dice.choice(self.branches))
        else:
            whole = self.files["Cargo.toml"].partition(OVERRIDE)[0]
            self.files["Cargo.toml"] = whole + OVERRIDE + str(self.dice.choice((0, 1, 2))).encode() + b"\n"
        return []

    def write(self, tree: Checkout, touched: list[str]) -> None:
        """Bring a tree to these sources: what is as it was keeps its date."""
        for path in [path for path in tree.path.rglob("*") if path.is_file()]:
            name = str(path.relative_to(tree.path))
            if not name.startswith("target/") and name not in self.files:
                path.unlink()
        for name, text in self.files.items():
            path = tree.path / name
            if not path.exists() or path.read_bytes() != text:
                tree.write(name, text)
        for name in touched:
            tree.touch(name)
        tree.touch("README.md")  # the clock has moved on


@pytest.mark.slow
@pytest.mark.timeout(2400)
@pytest.mark.parametrize("seed", range(1, 9))
def test_a_history_of_edits_gives_what_plain_cargo_gives(warm_box: Sandbox, seed: int) -> None:
    """Guards warm start as a whole: edits, dates, reverts, branches, profiles and features of a real workspace."""
    warm_box.settings["CARGO_INCREMENTAL"] = "0"
    (warm_box.cargo_home / "registry").symlink_to(Path(os.environ["CARGO_HOME"], "registry"))
    work = warm_box.root / "sources"
    work.mkdir()
    branches = [ripgrep(version, work) for version in VERSIONS]
    history = History(random.Random(seed), branches, dict(branches[0]))
    plain = Checkout(warm_box, warm_box.root / "plain" / "tree")
    history.write(plain, [])
    for step in range(STEPS):
        fresh = Checkout(warm_box, warm_box.root / f"fresh{step}" / "tree")
        words, variables = history.dice.choice(COMMANDS), history.dice.choice(VARIABLES)
        history.write(fresh, [])
        if history.dice.random() < 0.2:
            for name in history.files:
                os.utime(fresh.path / name, (946684800, 946684800))
        compare(fresh, plain, words, variables)
        touched = history.edit()
        for tree in (fresh, plain):
            history.write(tree, touched)
        compare(fresh, plain, words, variables)
        shutil.rmtree(fresh.path)
        history.write(plain, history.edit())


def compare(fresh: Checkout, plain: Checkout, words: tuple[str, ...], variables: dict[str, str]) -> None:
    """Build both, and compare what they have and what was compiled for it."""
    asked = (*words, "--message-format=json")
    ours = fresh.cargo(*asked, env=variables)
    wrapper = oracle.remapping_wrapper(plain.box.root, plain.box.sysroot)
    theirs = plain.cargo(*asked, env={**variables, "RUSTC_WRAPPER": str(wrapper)}, count=False)
    have, wanted = artifacts(ours), artifacts(theirs)
    assert have.keys() == wanted.keys()
    differ = [name for name in have if (fresh.target / name).read_bytes() != (plain.target / name).read_bytes()]
    assert not differ
    dirty = {re.sub("-", "_", each["target"]["name"]) for each in units(theirs) if not each["fresh"]}
    compiled = {call.crate for call in ours.calls.all if call.outcome == "miss" and call.kind != "build-script"}
    assert compiled <= dirty
    again = fresh.cargo(*words, "-v", env=variables)
    assert "Dirty" not in again.stderr and not again.calls.all, again.stderr


def units(built: Built) -> list[dict[str, Any]]:
    """What cargo says of each unit that has artifacts."""
    return [each for each in (_parsed(line) for line in built.stdout.splitlines()) if each.get("reason") == _ARTIFACT]


_ARTIFACT = "compiler-artifact"


def _parsed(line: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(line) if line.startswith("{") else {}
    return found


def artifacts(built: Built) -> dict[str, str]:
    """Files that a command is answerable for, below the target directory, to their units."""
    target = str(built.checkout.target)
    return {os.path.relpath(name, target): each["package_id"] for each in units(built) for name in each["filenames"]}
