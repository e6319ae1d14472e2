"""Memory: the daemon's resident size after thousands of different units were compiled through it."""

from __future__ import annotations

import concurrent.futures
import os
import shutil
import subprocess
from pathlib import Path

from bench.arms import KacheArm
from bench.context import Context, say
from bench.errors import BenchError
from bench.usage import process_rss_bytes

LIMIT_BYTES = 150 * 1000 * 1000
MODULES = 8  # source files a unit; published crates have 1 to 100


def run(context: Context, _project: str) -> dict[str, object]:
    """Compile small units, each with sources, dependencies and flags of its own; return the figures."""
    kache = context.kache()
    kache.box.start()
    home = context.work / "units"
    shutil.rmtree(home, ignore_errors=True)
    start_bytes = daemon_rss_bytes(kache)
    curve = []
    step = max(1, context.units // 10)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for first in range(0, context.units, step):
            numbers = range(first, min(first + step, context.units))
            list(pool.map(lambda number: compile_unit(kache, home, number), numbers))
            curve.append({"units": numbers[-1] + 1, "rss_bytes": daemon_rss_bytes(kache)})
            say(f"memory: {curve[-1]['units']} units, {curve[-1]['rss_bytes'] / 1e6:.1f} MB resident")
    counts = kache.box.counts()
    path_taken = kache.box.path_taken()
    kache.stop()
    shutil.rmtree(home, ignore_errors=True)
    return {
        "path": path_taken,
        "rss_at_start_bytes": start_bytes,
        "curve": curve,
        "outcomes": counts.outcomes,
        "passthrough_reasons": counts.reasons,
        "limit_bytes": LIMIT_BYTES,
        "ok": curve[-1]["rss_bytes"] <= LIMIT_BYTES and counts.outcomes.get("miss", 0) >= context.units * 0.99,
    }


def daemon_rss_bytes(kache: KacheArm) -> int:
    """Return the daemon's resident size as the kernel counts it.

    Raises:
        BenchError: there is no daemon.
    """
    pid = kache.box.daemon_pid()
    if pid is None:
        raise BenchError(
            "the daemon is not running", "its memory cannot be measured", f"see {kache.box.cache_dir / 'daemon.log'}"
        )
    return process_rss_bytes(pid)


def compile_unit(kache: KacheArm, home: Path, number: int) -> None:
    """Write and compile one unit as cargo would call for it, with the eight units before it as dependencies."""
    name = f"unit_{number}"
    source = home / "src" / name / "src"
    source.mkdir(parents=True, exist_ok=True)
    modules = "".join(f"pub mod m{at};\n" for at in range(MODULES))
    (source / "lib.rs").write_text(f"{modules}pub fn number() -> usize {{ {number} }}\n")
    for at in range(MODULES):
        (source / f"m{at}.rs").write_text(f"/// Module {at}.\npub fn value() -> usize {{ {number} * {at} }}\n")
    out = home / "target" / "debug" / "deps"
    out.mkdir(parents=True, exist_ok=True)
    argv = [str(kache.box.program), "rustc", *unit_arguments(name, number, out)]
    env = kache.box.env() | {
        "CARGO": "cargo",
        "CARGO_CRATE_NAME": name,
        "CARGO_MANIFEST_DIR": str(source.parent),
        "CARGO_PKG_NAME": name,
        "CARGO_PKG_VERSION": f"0.{number}.0",
    }
    done = subprocess.run(
        argv, env=env, cwd=source.parent, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError(
            f"unit {number} did not compile", done.stderr[-500:], "the generated sources are wrong for this rustc"
        )


def unit_arguments(name: str, number: int, out: Path) -> list[str]:
    """Return the arguments of one unit: cargo's own for a library, but metadata only: rustc is not what is measured."""
    externs: list[str] = []
    # The whole units of ten before: those are compiled, whatever order the pool works in.
    for before in range(max(0, number // 10 * 10 - 18), max(0, number // 10 * 10 - 10)):
        artifact = out / f"libunit_{before}-{before:016x}.rmeta"
        if artifact.exists():
            externs += ["--extern", f"unit_{before}={artifact}"]
    return [
        *["--crate-name", name, "--edition=2021", "src/lib.rs", "--error-format=json"],
        *["--json=diagnostic-rendered-ansi,artifacts,future-incompat", "--crate-type", "lib"],
        *["--emit=dep-info,metadata", "-C", "embed-bitcode=no", "-C", "debuginfo=2"],
        *["--check-cfg", "cfg(docsrs,test)", "--check-cfg", 'cfg(feature, values("default", "std"))'],
        *["-C", f"metadata={number:016x}", "-C", f"extra-filename=-{number:016x}", "--out-dir", str(out)],
        *["-L", f"dependency={out}", *externs, "--cap-lints", "warn"],
    ]
