"""The facts of the machine a result belongs to. No host name: results are published."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path


def facts(work: Path, env: Mapping[str, str], kache: Path) -> dict[str, object]:
    """Return cores, memory, filesystem, kernel, tool versions and load, as plain values."""
    return {
        "cores": os.cpu_count() or 1,
        "usable_cores": len(os.sched_getaffinity(0)),
        "cpu": _cpu_model(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "filesystem": filesystem(work),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "rustc": first_line(["rustc", "--version"], env),
        "cargo": first_line(["cargo", "--version"], env),
        "linker": first_line(["cc", "-Wl,--version"], env),
        "kache": first_line([str(kache), "--version"], env),
        "load_at_start": [round(value, 2) for value in os.getloadavg()],
        "nice": os.nice(0),
    }


def first_line(argv: list[str], env: Mapping[str, str]) -> str:
    """Return the first line a command prints, the empty string if it cannot be run."""
    try:
        done = subprocess.run(
            argv, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=30
        )
    except OSError:
        return ""
    return (done.stdout.splitlines() or [""])[0].strip()


def filesystem(path: Path) -> str:
    """Return the type of the filesystem a path is on, as /proc/self/mountinfo says."""
    best, kind = "", "unknown"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        mount = left.split()[4]
        inside = str(path) == mount or str(path).startswith(mount.rstrip("/") + "/")
        # Later mounts hide earlier ones at the same place.
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
