"""A real project as a workspace of many members: ripgrep with the libraries of its own that it is published beside."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from bench.errors import BenchError
from bench.projects import cargo, version_of

MEMBERS = ("grep", "grep-cli", "grep-matcher", "grep-printer", "grep-regex", "grep-searcher", "globset", "ignore")
VERSIONS = ("14.1.0", "14.1.1")
_NOT_SOURCES = {".cargo-ok", ".cargo_vcs_info.json", "Cargo.lock", "Cargo.toml.orig"}


def ripgrep(version: str, work: Path) -> dict[str, bytes]:
    """Its files, by name, a lock file included.

    Args:
        version: of `VERSIONS`.
        work: a directory for what is fetched.
    """
    try:
        source = version_of("ripgrep", version, work, os.environ).source
    except BenchError as error:
        pytest.skip(f"needs ripgrep {version} from its registry: {error}")
    lock = (source / "Cargo.lock").read_bytes()
    if cargo(["fetch", "--manifest-path", str(source / "Cargo.toml")], os.environ, work).returncode:
        pytest.skip(f"needs what ripgrep {version} depends on from its registry")
    files = {**_sources(source), "Cargo.lock": lock}
    for member in MEMBERS:
        found = re.search(rf'name = "{member}"\nversion = "([^"]+)"', lock.decode())
        assert found is not None, member
        (unpacked,) = Path(os.environ["CARGO_HOME"]).glob(f"registry/src/*/{member}-{found[1]}")
        files |= {f"members/{member}/{name}": text for name, text in _sources(unpacked).items()}
    listed = ", ".join(f'"members/{member}"' for member in MEMBERS)
    patched = "\n".join(f'{member} = {{ path = "members/{member}" }}' for member in MEMBERS)
    files["Cargo.toml"] += f"\n[workspace]\nmembers = [{listed}]\n\n[patch.crates-io]\n{patched}\n".encode()
    return files


def _sources(directory: Path) -> dict[str, bytes]:
    found = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name not in _NOT_SOURCES)
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}
