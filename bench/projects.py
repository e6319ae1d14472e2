"""Get a project to build: a pinned crate through cargo, or any cargo project on this disk."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError
from bench.usage import tail

CATALOGUE = Path(__file__).with_name("projects.toml")
NOT_SOURCE = {".cargo-ok", ".cargo_vcs_info.json"}


@dataclass(frozen=True)
class Project:
    """A cargo project and where its pristine sources are.

    Attributes:
        name: what reports call it.
        version: of a published crate, else the empty string.
        source: the directory checkouts are copied from; nothing is ever built in it.
        locked: it has a lock file, so cargo must not choose versions itself.
    """

    name: str
    version: str
    source: Path
    locked: bool


def catalogue() -> dict[str, str]:
    """Return the pinned projects, name to version."""
    with CATALOGUE.open("rb") as file:
        return {name: str(entry["version"]) for name, entry in tomllib.load(file).items()}


def catalogue_entry(name: str) -> dict[str, object]:
    """All that the catalogue says of a project."""
    with CATALOGUE.open("rb") as file:
        found: dict[str, object] = tomllib.load(file)[name]
    return found


def published(name: str, work: Path, env: Mapping[str, str]) -> Project:
    """Fetch a pinned project's sources through cargo, so that mirrors and offline caches configured there count.

    Args:
        name: a name of `projects.toml`.
        work: scratch directory; the sources stay in it for the next time.
        env: environment for cargo.
    """
    return version_of(name, catalogue()[name], work, env)


def version_of(name: str, version: str, work: Path, env: Mapping[str, str]) -> Project:
    """Fetch a version of a crate: the pinned one or another."""
    source = work / "sources" / f"{name}-{version}"
    if not source.is_dir():
        copy_tree(unpacked(name, version, work, env), source)
    return Project(name, version, source, (source / "Cargo.lock").is_file())


def unpacked(name: str, version: str, work: Path, env: Mapping[str, str]) -> Path:
    """Let cargo download and unpack a crate; return where it did."""
    scratch = work / "fetch"
    scratch.mkdir(parents=True, exist_ok=True)
    done = cargo(["info", "--quiet", f"{name}@{version}"], env, scratch)
    home = Path(env.get("CARGO_HOME") or Path.home() / ".cargo")
    found = sorted((home / "registry" / "src").glob(f"*/{name}-{version}"))
    if not found:
        raise BenchError(
            f"could not fetch {name} {version}",
            f"cargo said: {tail(done.stderr, 4) or 'nothing, and its registry does not hold the crate'}",
            "check the network and cargo's registry settings (cargo 1.82 or newer), or name a project of this disk",
        )
    return found[-1]


def local(path: Path, env: Mapping[str, str]) -> Project:
    """Take any cargo project of this disk; its own directory is only read."""
    root = path.expanduser().resolve()
    if not (root / "Cargo.toml").is_file():
        raise BenchError(
            f"{root} is not a cargo project",
            "it has no Cargo.toml" if root.is_dir() else "there is no such directory",
            "give the directory of a workspace or package, as in `make try PROJECT=path/to/project`",
        )
    described = cargo(["metadata", "--no-deps", "--offline", "--format-version", "1"], env, root)
    if described.returncode:
        raise BenchError(
            f"cargo cannot read the project in {root}",
            tail(described.stderr, 6),
            "run `cargo metadata` there and mend it",
        )
    workspace = Path(json.loads(described.stdout)["workspace_root"])
    if workspace != root:
        raise BenchError(
            f"{root} is a member of a workspace", f"the workspace is {workspace}", f"give that: PROJECT={workspace}"
        )
    return Project(root.name, "", root, (root / "Cargo.lock").is_file())


def cargo(arguments: list[str], env: Mapping[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a short cargo command and keep its output.

    Raises:
        BenchError: there is no cargo.
    """
    try:
        return subprocess.run(
            ["cargo", *arguments],
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise BenchError(
            "cargo was not found", "no program of that name is on PATH", "install Rust (rustup), then try again"
        ) from None


def checkout(project: Project, at: Path, env: Mapping[str, str]) -> Path:
    """Copy a project's sources to a new directory, dated now as a fresh `git clone` would be."""
    if at.exists():
        shutil.rmtree(at)
    files = git_files(project.source)
    if files is None:
        copy_tree(project.source, at)
    else:
        for name in files:
            copy_file(project.source / name, at / name)
    if not project.locked:
        return at
    fetched = cargo(["fetch", "--locked"], env, at)
    if fetched.returncode:
        raise BenchError(
            f"could not fetch the dependencies of {project.name}",
            f"cargo said: {tail(fetched.stderr, 6)}",
            "check the network and cargo's registry settings; `cargo fetch --locked` in the project must work",
        )
    return at


def git_files(source: Path) -> list[str] | None:
    """Return the files git knows or would add, relative; None if git does not keep this directory."""
    names: list[str] = []
    # Two listings: git has no one call for submodules' files and untracked ones.
    for selection in (["--cached", "--recurse-submodules"], ["--others", "--exclude-standard"]):
        argv = ["git", "-C", str(source), "ls-files", "-z", *selection]
        try:
            listed = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            return None
        if listed.returncode:
            return None
        names += listed.stdout.split("\0")
    # Without its Cargo.toml it is an ignored directory inside somebody else's repository.
    return [name for name in names if name and (source / name).is_file()] if "Cargo.toml" in names else None


def copy_tree(source: Path, to: Path) -> None:
    """Copy sources without build outputs and the registry's own marks; dates are now."""
    for folder, folders, names in os.walk(source):
        here = Path(folder)
        folders[:] = [name for name in folders if not (name == ".git" or (here / name / "CACHEDIR.TAG").exists())]
        for name in names:
            if name not in NOT_SOURCE:
                copy_file(here / name, to / (here / name).relative_to(source))


def copy_file(source: Path, to: Path) -> None:
    """Copy one file with its mode and a date of now; a symlink stays one."""
    to.parent.mkdir(parents=True, exist_ok=True)
    if source.is_symlink():
        to.symlink_to(source.readlink())
    else:
        shutil.copy(source, to)
