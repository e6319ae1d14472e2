"""Wheel and source archive in empty environments, with each Python that this machine has."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from kache import __version__
from tests.support.dist import BUILD, Dist
from tests.support.sandbox import Sandbox
from tools.servers import ServersError, installed

MINORS = (11, 12, 13, 14)
"""Those that pyproject.toml promises."""


def found(minor: int) -> Path | None:
    """A Python of that version that can make environments: on PATH, the distribution's, or a version manager's."""
    home = Path(pwd.getpwuid(os.getuid()).pw_dir)
    on_path = shutil.which(f"python3.{minor}")
    candidates = [Path(on_path)] if on_path else []
    candidates += [Path("/usr/bin", f"python3.{minor}"), *sorted(home.glob(f".pyenv/versions/3.{minor}.*/bin/python"))]
    asks = f"import ensurepip, sys, venv; sys.exit(sys.version_info[:2] != (3, {minor}))"
    for candidate in candidates:
        try:
            # A version manager's shim is there for versions that it then refuses to start.
            if subprocess.run([candidate, "-c", asks], capture_output=True, check=False).returncode == 0:
                return candidate
        except OSError:
            continue
    return None


def pip(where: Path, env: dict[str, str], *words: str) -> None:
    argv = [str(where / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check", *words]
    done = subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def runs(where: Path, env: dict[str, str], *words: str) -> str:
    """What the kache there prints."""
    argv = [str(where / "bin" / "kache"), *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("minor", MINORS, ids=lambda minor: f"3.{minor}")
def test_source_archive_and_wheel_install_into_an_empty_environment(
    minor: int, dist: Dist, machine: Sandbox, newcomer: dict[str, str]
) -> None:
    python = found(minor)
    if python is None:
        pytest.skip(f"there is no Python 3.{minor} here that can make environments")
    where = machine.root / "environment"
    subprocess.run([python, "-m", "venv", where], env=newcomer, check=True)
    # Built by pip in an environment of its own, as everywhere; cargo finds its own output again.
    pip(
        where,
        newcomer | {"CARGO_TARGET_DIR": str(BUILD / "wheel"), "CARGO_NET_OFFLINE": "false"},
        "install",
        str(dist.source),
    )
    assert '"success": true' in runs(where, newcomer, "stats", "--json"), "launcher, Python and libraries fit"
    requirements = subprocess.run(
        [where / "bin" / "python", "-m", "pip", "show", "kache"],
        env=newcomer,
        capture_output=True,
        text=True,
        check=True,
    )
    pip(where, newcomer, "uninstall", "--yes", "kache")
    assert not (where / "bin" / "kache").exists() and not list(where.glob("lib/*/site-packages/kache/**/*.py"))
    # What it depends on is there already; that both ask for the same is compared below.
    pip(where, newcomer, "install", str(dist.wheel))
    assert runs(where, newcomer, "--version") == f"kache {__version__}\n"
    probe = runs(where, newcomer, "doctor", "--probe")
    assert "probe: a tiny crate compiled in one checkout was a hit in another" in probe
    again = subprocess.run(
        [where / "bin" / "python", "-m", "pip", "show", "kache"],
        env=newcomer,
        capture_output=True,
        text=True,
        check=True,
    )
    assert again.stdout == requirements.stdout


@pytest.mark.parametrize("tool", ["uv", "pipx"])
def test_uv_and_pipx_put_a_kache_on_path_that_runs(
    tool: str, dist: Dist, machine: Sandbox, newcomer: dict[str, str]
) -> None:
    if os.environ.get("KACHE_NO_SERVERS") == "1":
        pytest.skip("KACHE_NO_SERVERS=1")
    try:
        program = installed(tool)
    except ServersError as error:
        pytest.skip(str(error))
    # Where packages come from is the machine's own business.
    own = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_", "SSL_"))}
    env = own | newcomer | {"UV_PYTHON_DOWNLOADS": "never", "PYTHONPATH": str(program.parent.parent)}
    words = [str(program), "tool"] if tool == "uv" else [sys.executable, "-m", "pipx"]
    done = subprocess.run([*words, "install", str(dist.wheel)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = subprocess.run(
        [machine.home / ".local" / "bin" / "kache", "stats", "--json"],
        env=newcomer,
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"success": true' in found.stdout


def test_the_source_archive_has_what_the_wheel_is_made_of_and_nothing_of_this_machine(dist: Dist) -> None:
    shutil.unpack_archive(dist.source, dist.where / "unpacked")
    top = dist.where / "unpacked" / f"kache-{__version__}"
    packaged = {name for name in zipfile.ZipFile(dist.wheel).namelist() if name.startswith("kache/")}
    assert packaged <= {path.relative_to(top / "src").as_posix() for path in (top / "src").rglob("*")}
    names = {path.relative_to(top).parts[0] for path in top.iterdir()}
    assert names <= {
        "src",
        "native",
        "pyproject.toml",
        "PKG-INFO",
        "README.md",
        "CHANGELOG.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
    }
