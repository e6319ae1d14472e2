"""`make check`: format, lint, types, layers, native code and house rules, in under a minute; changes nothing.

All checks run, whatever one of them finds, and only those that fail print what they said.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
CRATES = ("native/launcher", "bench/nothing_wrapper")
# `cargo fmt` and `cargo clippy` are components of their own.
COMPONENTS = {"fmt": "rustfmt", "clippy": "clippy"}


class Check(NamedTuple):
    """One check: what it is called and what is run for it."""

    name: str
    argv: list[str]


def checks() -> Iterator[Check]:
    """Every check, the quickest first."""
    python = sys.executable
    yield Check("ruff format", [python, "-m", "ruff", "format", "--check", "."])
    yield Check("ruff check", [python, "-m", "ruff", "check", "."])
    yield Check("import-linter", [str(BIN / "lint-imports")])
    yield Check("mypy --strict", [python, "-m", "mypy"])
    for crate in CRATES:
        manifest = f"{crate}/Cargo.toml"
        yield Check(f"cargo fmt {crate}", ["cargo", "fmt", "--manifest-path", manifest, "--", "--check"])
        clippy = ["cargo", "clippy", "--quiet", "--locked", "--all-targets", "--manifest-path", manifest]
        yield Check(f"cargo clippy {crate}", [*clippy, "--", "-D", "warnings"])
    observer = [str(path) for path in sorted((ROOT / "native/launcher/observer").glob("*.rs"))]
    rustfmt = ["rustfmt", "--check", "--edition", "2021", "--config-path", "native/launcher", *observer]
    yield Check("rustfmt native/launcher/observer", rustfmt)
    yield Check("house rules", [python, "-m", "pytest", "-q", "--no-header", "tests/house"])


def main() -> int:
    """Run them all; 1 if one failed."""
    missing = _missing_component()
    if missing:
        print(missing, file=sys.stderr)
        return 1
    failed = [check.name for check in checks() if not _passes(check)]
    if failed:
        print(f"check: {len(failed)} failed: {', '.join(failed)} (make fix repairs format and simple lints)")
        return 1
    print("check: all is well")
    return 0


def _passes(check: Check) -> bool:
    print(f"check: {check.name} ... ", end="", flush=True)
    started = time.monotonic()
    done = subprocess.run(
        check.argv,
        cwd=ROOT,
        # The tree itself is checked, not what is installed.
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", "RUSTC_WRAPPER": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    word = "FAILED" if done.returncode else "ok"
    print(f"{word} ({time.monotonic() - started:.1f} s)", flush=True)
    if done.returncode:
        print(done.stdout.rstrip(), flush=True)
    return done.returncode == 0


def _missing_component() -> str:
    if shutil.which("cargo") is None:
        return "error[no-toolchain]: cargo is not on PATH\nwhy: the native launcher is checked too\nfix: install Rust"
    for verb, component in COMPONENTS.items():
        if subprocess.run(["cargo", verb, "--version"], capture_output=True, check=False, cwd=ROOT).returncode:
            return (
                f"error[no-{component}]: cargo {verb} does not run\n"
                f"why: the toolchain lacks the component {component}\n"
                f"fix: rustup component add {component} (or the distribution's package of that name)"
            )
    return ""


if __name__ == "__main__":
    sys.exit(main())
