"""Compile a tiny crate in checkouts with a scratch cache: is the second a hit, and is it in a third beforehand?

`kache doctor --probe` names the launcher to cargo; at the end of `kache init` cargo has to find it by its own
configuration.

Everything happens below one temporary directory with a cache of its own; the user's cargo and kache configuration is
neither changed nor, where it would steer kache, read.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from kache.config.paths import home_dir, socket_path, state_dir
from kache.errors import KacheError
from kache.reports import stats, why_miss
from kache.reports.database import Window, last_build, reading
from kache.reports.render.why_miss import to_text
from kache.setup.checks.versions import find_launcher
from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings
from kache.setup.init.cargo_shim import real_cargo

_TIMEOUT_S = 300
# The wrapper may need these to be itself; every other KACHE_ variable would make the probe something else's test.
_KEPT = frozenset({"KACHE_DAEMON", "KACHE_PYTHON"})
_DROPPED = frozenset({"CARGO_INCREMENTAL", "RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER"})
_FILES = {
    "Cargo.toml": '[package]\nname = "kache-probe"\nversion = "0.1.0"\nedition = "2021"\n\n[workspace]\n',
    "src/lib.rs": "/// Adds.\npub fn add(a: u64, b: u64) -> u64 {\n    a + b\n}\n",
}


@dataclass(frozen=True, slots=True)
class _Build:
    exit_code: int
    stderr: str


def probe(around: Surroundings, *, configured: bool = False) -> Finding:
    """Build the crate in three checkouts and judge the second, by hits alone, and the third, by warm start.

    Args:
        around: the caller's surroundings.
        configured: leave it to cargo's configuration and the caller's environment to name the wrapper.
    """
    launcher = find_launcher()
    if launcher is None:
        return Finding(FAIL, "the probe needs the native launcher", fix="install kache with pip, pipx or uv tool")
    cargo = real_cargo(around.env)
    if cargo is None:
        return Finding(FAIL, "the probe needs cargo", fix="install a Rust toolchain")
    with tempfile.TemporaryDirectory(prefix="kache-probe-", ignore_cleanup_errors=True) as scratch:
        env = _environment(around.env, Path(scratch))
        if not configured:
            env.pop("CARGO_BUILD_RUSTC_WRAPPER", None)
            env["RUSTC_WRAPPER"] = str(launcher)
        before = _cargo_droppings(around.env)
        try:
            return _judge(cargo, env, Path(scratch))
        finally:
            _stop_daemon(env)
            for path in () if before else _cargo_droppings(around.env):
                path.unlink(missing_ok=True)


def _cargo_droppings(env: Mapping[str, str]) -> list[Path]:
    """What any cargo command leaves in a cargo home and none misses: the probe's own in one that was never used."""
    home = Path(env.get("CARGO_HOME") or f"{home_dir(env)}/.cargo")
    names = (".global-cache", ".package-cache", ".package-cache-mutate")
    return [home / name for name in names if (home / name).exists()]


def _judge(cargo: str, env: Mapping[str, str], scratch: Path) -> Finding:
    for checkout, more in (("one", {"KACHE_WARM_START": "1"}), ("two", {"KACHE_WARM_START": "0"})):
        build = _build(cargo, scratch / checkout, {**env, **more})
        if build.exit_code != 0:
            tail = "; ".join(build.stderr.strip().splitlines()[-3:])
            return Finding(FAIL, "the probe does not compile", tail, "see whether cargo build works without kache")
    _flush(env)
    with reading(scratch / "cache") as connection:
        if connection is None:
            why = "cargo did not call kache, or the launcher found no daemon and no Python of its version"
            return Finding(FAIL, "the second compile was no hit: kache recorded nothing", why, "see the checks above")
        second = Window(build=last_build(connection))
        counts = stats.collect(connection, second, max_bytes=0)
        misses = why_miss.collect(connection, None, only_last_build=True)
    hits = sum(counts.outcomes[name] for name in stats.HITS)
    if hits and not counts.outcomes["miss"] and counts.builds:
        return _judge_warm_start(cargo, env, scratch)
    return Finding(FAIL, "the second compile was no hit", to_text(misses, None, 0), "see the checks above")


def _judge_warm_start(cargo: str, env: Mapping[str, str], scratch: Path) -> Finding:
    hit = "a tiny crate compiled in one checkout was a hit in another"
    if not socket_path(env).exists():
        return Finding(OK, f"{hit}; without a daemon nothing is put into a target beforehand")
    build = _build(cargo, scratch / "three", {**env, "KACHE_WARM_START": "1"})
    _flush(env)
    with reading(scratch / "cache") as connection:
        third = Window(build=last_build(connection) if connection is not None else "")
        counts = stats.collect(connection, third, max_bytes=0)
        why = to_text(why_miss.collect(connection, None, only_last_build=True), None, 0)
    if build.exit_code == 0 and counts.outcomes["seeded"]:
        return Finding(OK, f"{hit}, and was in a third one before cargo asked")
    return Finding(WARN, f"{hit}, but was not put into a third one beforehand", why, "kache daemon log may say why")


def _environment(env: Mapping[str, str], scratch: Path) -> dict[str, str]:
    kept = {
        name: value
        for name, value in env.items()
        if name not in _DROPPED and (not name.startswith("KACHE_") or name in _KEPT)
    }
    (scratch / "empty.toml").touch()
    known = state_dir(env) / "toolchains"  # identified before: hashing one takes half a second
    own = scratch / "state" / "kache"
    own.mkdir(parents=True)
    with contextlib.suppress(OSError):
        shutil.copy(known, own)
    return {
        **kept,
        "XDG_STATE_HOME": str(own.parent),
        "KACHE_CACHE_DIR": str(scratch / "cache"),
        "KACHE_CONFIG": str(scratch / "empty.toml"),
    }


def _build(cargo: str, checkout: Path, env: Mapping[str, str]) -> _Build:
    for name, text in _FILES.items():
        path = checkout / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        saved_s = time.time() - 60  # what was saved this very moment is not put in place beforehand
        os.utime(path, (saved_s, saved_s))
    run = subprocess.run(
        [cargo, "build", "--offline"],
        cwd=checkout,
        env={**env, "CARGO_TARGET_DIR": str(checkout / "target")},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_S,
        check=False,
    )
    return _Build(run.returncode, run.stderr)


def _flush(env: Mapping[str, str]) -> None:
    if not socket_path(env).exists():
        return
    from kache.ipc.client import control

    try:
        control(socket_path(env), {"op": "flush"})
    except (KacheError, OSError):
        return


def _stop_daemon(env: Mapping[str, str]) -> None:
    if not socket_path(env).exists():
        return
    from kache.ipc.lifecycle import stop_daemon

    try:
        stop_daemon(env)
    except (KacheError, OSError):
        return
