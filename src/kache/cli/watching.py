"""Have cargo's build scripts watched: then runs of the checkout's own can be served, too."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from kache.cargo.script_memories import DIRECTORY, DIRECTORY_VARIABLE
from kache.cli.session import Session
from kache.util import processes

_LIMIT_S = 5.0
_KEPT_S = 24 * 3600.0
"""What is older was left by a cargo whose daemon did not come to it."""
_ON = "on: "
_CARGO = "4"
"""The role of a cargo. Source: native/launcher/observer/log.rs."""


@contextlib.contextmanager
def scripts_watched(launcher: str, env: Mapping[str, str], session: Session) -> Iterator[dict[str, str]]:
    """Give what a cargo is told whose scripts are watched while this lasts; nothing where that cannot be.

    Args:
        launcher: has the observer in it.
        env: cargo's.
        session: of this command.
    """
    config = session.config
    if not (config.warm_start and config.observe and config.daemon) or config.disabled:
        yield {}
        return
    above = config.cache_dir / DIRECTORY
    library = _observer(launcher, env)
    if library is None:
        yield {}
        return
    try:
        _sweep(above)
        for made in (config.cache_dir, above):
            made.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = tempfile.mkdtemp(dir=above)
        held = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield {}
        return
    preload = f"{env['LD_PRELOAD']}:{library}" if env.get("LD_PRELOAD") else library
    try:
        yield {
            "LD_PRELOAD": preload,
            "KACHE_OBSERVED": f"/proc/{os.getpid()}/fd/{held};{_CARGO}",  # short, wherever the cache dir is
            DIRECTORY_VARIABLE: directory,
        }
    finally:
        os.close(held)
        with contextlib.suppress(OSError):
            os.rmdir(directory)  # nothing was watched; else the daemon removes it when it has read it


def _observer(launcher: str, env: Mapping[str, str]) -> str | None:
    try:
        found = processes.run([launcher, "--observer"], _LIMIT_S, env=env)
    except (OSError, subprocess.SubprocessError):
        return None
    said = os.fsdecode(found.stdout).rstrip("\n")
    return said.removeprefix(_ON) if said.startswith(_ON) else None


def _sweep(above: Path) -> None:
    with contextlib.suppress(OSError):
        for found in os.scandir(above):
            if found.stat().st_mtime < time.time() - _KEPT_S:
                shutil.rmtree(found.path, ignore_errors=True)
