"""The wheel as users get it: what is in it, and that it works from where installers put it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from kache import __version__
from tests.support.dist import shared_dist

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built once for all workers of the run."""
    pytest.importorskip("maturin", reason="builds a wheel")
    return shared_dist(tmp_path_factory).wheel


def pip(*words: str) -> None:
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    argv = [sys.executable, "-m", "pip", "--disable-pip-version-check", *words]
    run = subprocess.run(argv, env=env, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def installed(wheel: Path, where: Path) -> Path:
    """Install the wheel into an environment of its own that sees this one's libraries; return its launcher."""
    venv.EnvBuilder(with_pip=False, symlinks=True).create(where)
    pip("--python", str(where / "bin" / "python"), "install", "--no-deps", str(wheel))
    site = next((where / "lib").glob("python*")) / "site-packages"
    (site / "libraries.pth").write_text(sysconfig.get_path("platlib") + "\n")
    return where / "bin" / "kache"


def test_the_wheel_holds_the_package_the_launcher_and_its_way_to_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    scripts = f"kache-{__version__}.data/scripts"
    assert {f"{scripts}/kache", f"{scripts}/kache-python", "kache/py.typed"} <= names
    assert {f"kache-{__version__}.dist-info/licenses/LICENSE-{which}" for which in ("MIT", "APACHE")} <= names
    packaged = {name for name in names if name.startswith("kache/")}
    tree = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")} | {"kache/py.typed"}
    assert packaged == tree


@pytest.mark.parametrize("directory", ["plain", "with a blank", "d" * 140])
def test_it_runs_from_wherever_it_was_installed(wheel: Path, tmp_path: Path, directory: str) -> None:
    launcher = installed(wheel, tmp_path / directory / "venv")
    linked = tmp_path / "bin" / "kache"
    linked.parent.mkdir()
    linked.symlink_to(launcher)
    # Neither a caller's Python settings nor another interpreter on PATH may lead it to another kache.
    env = os.environ | {"PYTHONPATH": "/nonexistent", "PYTHONHOME": "/nonexistent", "KACHE_PYTHON": "/bin/false"}
    run = subprocess.run([linked, "--version"], env=env, capture_output=True, text=True, check=True)
    assert run.stdout == f"kache {__version__}\n"
    run = subprocess.run([linked, "stats", "--json"], env=env, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout)["success"] is True


@pytest.mark.parametrize("daemon", ["1", "0"])
def test_an_installed_kache_hits_in_a_second_checkout(wheel: Path, tmp_path: Path, daemon: str) -> None:
    launcher = installed(wheel, tmp_path / "a venv")
    env = os.environ | {"KACHE_DAEMON": daemon, "PYTHONPATH": "/nonexistent"}
    run = subprocess.run([launcher, "doctor", "--probe"], env=env, capture_output=True, text=True, check=False)
    assert "probe: a tiny crate compiled in one checkout was a hit in another" in run.stdout, run.stdout + run.stderr
