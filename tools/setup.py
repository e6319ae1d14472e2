"""`make setup`: make `.venv` with the development tools and the installed kache in it, native launcher included.

Runs under any Python 3.11+ (tools/find_python.sh chooses it) with the standard library alone. What is up to date stays
as it is: `.venv/setup.json` holds digests of what the tools and the installed package were made from.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import tomllib
import venv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
DOCS_VENV = ROOT / ".venv-docs"
PROJECT = ROOT / "pyproject.toml"
# What the wheel is made of; `target` and caches below them are not.
SOURCES = ("src", "native", "pyproject.toml", "README.md", "LICENSE-MIT", "LICENSE-APACHE")
SKIPPED = {"target", "__pycache__"}
RETRY_PAUSE_S = 5


class SetupError(Exception):
    """What is missing, why it is needed, what to do; printed as three lines."""

    def __init__(self, code: str, what: str, why: str, fix: str) -> None:
        super().__init__(f"error[{code}]: {what}\nwhy: {why}\nfix: {fix}")


def main() -> int:
    """Bring `.venv` up to date."""
    parser = argparse.ArgumentParser(prog="make setup", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--tools-only", action="store_true", help="the development tools, without building kache")
    options = parser.parse_args()
    try:
        # Two makes in one tree take turns; any file of the tree serves as the lock.
        with PROJECT.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            install_tools()
            if not options.tools_only:
                install_package()
    except SetupError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def install_tools() -> None:
    """Make the environment and install what kache depends on and what its developers use."""
    project = _project()
    extras = project["optional-dependencies"]
    _environment(VENV, [*project["dependencies"], *extras["planner"], *extras["dev"]])


def install_docs() -> Path:
    """Make the environment of the site's tools, which nothing else needs; return its Python."""
    _environment(DOCS_VENV, _project()["optional-dependencies"]["docs"])
    return _python_of(DOCS_VENV)


def _environment(where: Path, requirements: Sequence[str]) -> None:
    """Make an environment with some packages, or leave one that has them as it is."""
    stamp = _stamp(where)
    # The path too: scripts of an environment name the directory it was made in.
    place = _digest([str(where), sys.version])
    if stamp.get("venv") != place or not _runs(_python_of(where)):
        say(f"making {where.name} with Python {sys.version.split()[0]}")
        shutil.rmtree(where, ignore_errors=True)
        venv.EnvBuilder(with_pip=True, symlinks=True).create(where)
        stamp = {"venv": place}
    wanted = _digest(requirements)
    if stamp.get("tools") != wanted:
        say(f"installing {', '.join(requirements)}")
        _pip("install", "--quiet", *requirements, into=where)
        _write_stamp(where, {**stamp, "tools": wanted})


def install_package() -> None:
    """Build the wheel, native launcher and all, and install it: not editable, so that what runs is what users get."""
    wanted = _package_digest()
    stamp = _stamp(VENV)
    if stamp.get("package") == wanted and (VENV / "bin" / "kache").is_file():
        return
    for program, what in (("cargo", "a Rust toolchain"), ("cc", "a C compiler, which rustc links with")):
        if shutil.which(program) is None:
            raise SetupError(
                "no-toolchain",
                f"{program} is not on PATH",
                f"kache's launcher is a native program: building it needs {what}",
                f"install {what} (see the distribution's packages) and run make setup again",
            )
    say("building kache and its native launcher")
    _pip("install", "--quiet", "--no-deps", "--no-build-isolation", "--force-reinstall", ".")
    _write_stamp(VENV, {**stamp, "package": wanted})
    say(f"installed .venv/bin/kache ({_output(VENV / 'bin' / 'kache', '--version')})")


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"setup: {text}", flush=True)


def source_files() -> Iterator[Path]:
    """Every file the wheel is made of, sorted."""
    for name in SOURCES:
        top = ROOT / name
        if top.is_file():
            yield top
            continue
        for directory, names, files in os.walk(top):
            names[:] = sorted(set(names) - SKIPPED)
            yield from (Path(directory, file) for file in sorted(files))


def _project() -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads(PROJECT.read_text())["project"]
    return found


def _python_of(where: Path) -> Path:
    return where / "bin" / "python"


def _package_digest() -> str:
    parts: list[str | bytes] = []
    for path in source_files():
        parts += [str(path.relative_to(ROOT)), path.read_bytes()]
    return _digest(parts)


def _digest(parts: Sequence[str | bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else os.fsencode(part)
        total.update(len(data).to_bytes(8, "little") + data)
    return total.hexdigest()


def _stamp(where: Path) -> dict[str, str]:
    try:
        found: dict[str, str] = json.loads((where / "setup.json").read_text())
    except (OSError, ValueError):
        return {}
    return found


def _write_stamp(where: Path, stamp: Mapping[str, str]) -> None:
    (where / "setup.json").write_text(json.dumps(stamp, indent=1) + "\n")


def _runs(python: Path) -> bool:
    try:
        return subprocess.run([python, "-c", ""], check=False, capture_output=True).returncode == 0
    except OSError:
        return False


def _output(*argv: str | Path) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip()


def _pip(*arguments: str, into: Path = VENV) -> None:
    """Run pip of an environment, twice if need be: registries hiccup.

    Raises:
        SetupError: it failed twice.
    """
    argv = [str(_python_of(into)), "-m", "pip", "--disable-pip-version-check", "--no-input", *arguments]
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    env |= {
        # maturin is called by name.
        "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        # Building the wrapper must not need a wrapper; empty overrides one in the user's cargo configuration.
        "RUSTC_WRAPPER": "",
        # Not the crate's own: maturin moves the program away from where cargo put it.
        "CARGO_TARGET_DIR": str(ROOT / "build" / "launcher"),
    }
    for attempt in (1, 2):
        if subprocess.run(argv, cwd=ROOT, env=env, check=False).returncode == 0:
            return
        if attempt == 1:
            say(f"pip failed; trying once more in {RETRY_PAUSE_S} s")
            time.sleep(RETRY_PAUSE_S)
    raise SetupError(
        "pip-failed",
        f"pip {arguments[0]} failed twice",
        "its words are above: no registry in reach, or a launcher that does not build",
        "mend what it says and run make setup again",
    )


if __name__ == "__main__":
    sys.exit(main())
