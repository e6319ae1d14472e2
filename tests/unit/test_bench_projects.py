"""Checkouts: what is copied, how it is dated, and what is said of something that is no project."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bench.environment import plain_env
from bench.errors import BenchError
from bench.projects import Project, checkout, local


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package with build output, an ignored file and an old date on its sources."""
    root = tmp_path / "package"
    (root / "src").mkdir(parents=True)
    (root / "Cargo.toml").write_text('[package]\nname = "package"\nversion = "0.1.0"\nedition = "2021"\n[workspace]\n')
    (root / "src" / "lib.rs").write_text("pub fn f() {}\n")
    (root / "target").mkdir()
    (root / "target" / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n")
    (root / ".gitignore").write_text("/target\nsecret\n")
    (root / "secret").write_text("ignored by git")
    os.utime(root / "src" / "lib.rs", (1, 1))
    return root


def test_a_checkout_has_the_sources_dated_now_and_no_output(package: Path, tmp_path: Path) -> None:
    copy = checkout(Project("package", "", package, locked=False), tmp_path / "copy", os.environ)
    assert (copy / "src" / "lib.rs").stat().st_mtime > 1_000_000
    assert not (copy / "target").exists()


def test_a_git_work_tree_is_copied_as_git_sees_it(package: Path, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q", str(package)], check=True)
    copy = checkout(Project("package", "", package, locked=False), tmp_path / "copy", os.environ)
    assert sorted(path.name for path in copy.iterdir()) == [".gitignore", "Cargo.toml", "src"]


def test_what_is_no_project_is_said_with_a_way_out(tmp_path: Path, package: Path) -> None:
    with pytest.raises(BenchError, match="is not a cargo project") as found:
        local(tmp_path / "nowhere", os.environ)
    assert found.value.why == "there is no such directory"
    assert "PROJECT=" in found.value.fix
    (package / "Cargo.toml").write_text("[package\n")
    with pytest.raises(BenchError, match="cannot read the project"):
        local(package, os.environ)


def test_wrappers_flags_and_a_jobserver_of_the_caller_do_not_reach_the_builds(tmp_path: Path) -> None:
    mine = {
        "RUSTC_WRAPPER": "other",
        "RUSTFLAGS": "-O",
        "MAKEFLAGS": "-j",
        "KACHE_CACHE_DIR": "/mine",
        "HOME": "/home/me",
    }
    env = plain_env(mine, tmp_path)
    assert env["HOME"] == "/home/me"
    assert env["RUSTC_WRAPPER"] == ""  # empty, since only that overrides the user's cargo configuration
    assert env["CARGO_INCREMENTAL"] == "0"
    assert not {"RUSTFLAGS", "MAKEFLAGS", "KACHE_CACHE_DIR"} & set(env)
