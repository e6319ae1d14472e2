"""The toolchain that builds here: which one it is, who chose it, and whether kache can tell it from others."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from kache.compilers.rustc.invocation import Refusal
from kache.compilers.rustc.toolchain import Toolchains
from kache.config.paths import state_dir
from kache.engine.kept_toolchains import FILE_NAME
from kache.setup.finding import FAIL, OK, SKIP, WARN, Finding, Surroundings

_TIMEOUT_S = 30
_FILES = ("rust-toolchain.toml", "rust-toolchain")


def check(around: Surroundings) -> list[Finding]:
    """Identify rustc as the first compile would, and compare it with cargo."""
    rustc = shutil.which(around.env.get("RUSTC") or "rustc", path=around.env.get("PATH"))
    if rustc is None:
        return [Finding(SKIP, "no toolchain to look at")]  # the check of rustc says so
    toolchains = Toolchains()
    known = _restored(toolchains, around)
    env = {os.fsencode(name): os.fsencode(value) for name, value in around.env.items()}
    found = toolchains.identify(os.fsencode(rustc), env, os.fsencode(around.cwd or "/"))
    if isinstance(found, Refusal):
        why = f"{found.detail}: every compile passes through ({found.reason})"
        return [Finding(FAIL, f"{rustc} cannot be identified", why, "repair or reinstall the toolchain")]
    by = _chosen_by(around)
    what = f"{os.fsdecode(found.sysroot)}, {found.identity.hex()[:12]}{f', by {by}' if by else ''}; {known} known"
    return [Finding(OK, what), *_of_two_kinds(around)]


def _restored(toolchains: Toolchains, around: Surroundings) -> int:
    for directory in (state_dir(around.env), around.config.cache_dir):
        try:
            return toolchains.restore((directory / FILE_NAME).read_bytes())
        except OSError:
            continue
    return 0


def _chosen_by(around: Surroundings) -> str:
    """What chose it: rustup's variable, or the nearest file."""
    if around.env.get("RUSTUP_TOOLCHAIN"):
        return f"RUSTUP_TOOLCHAIN={around.env['RUSTUP_TOOLCHAIN']}"
    here = around.cwd or Path("/")
    return next((str(each / name) for each in (here, *here.parents) for name in _FILES if (each / name).is_file()), "")


def _of_two_kinds(around: Surroundings) -> list[Finding]:
    """A cargo of one release beside a rustc of another, as a distribution's in front of rustup's."""
    releases = {program: _release(program, around) for program in ("cargo", "rustc")}
    if "" in releases.values() or releases["cargo"] == releases["rustc"]:
        return []
    what = f"cargo is of {releases['cargo']}, rustc of {releases['rustc']}"
    why = "two installations are mixed on PATH; builds work, and whoever has another mix shares nothing with them"
    return [Finding(WARN, what, why, "put one toolchain first on PATH")]


def _release(program: str, around: Surroundings) -> str:
    """`1.95` of `cargo 1.95.0 (…)`; empty if it does not say."""
    path = shutil.which(around.env.get(program.upper()) or program, path=around.env.get("PATH"))
    try:
        done = subprocess.run(
            [path or program, "--version"],
            env=dict(around.env),
            cwd=around.cwd,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    words = [*done.stdout.split(), "", ""]
    return ".".join(words[1].split(".")[:2])
