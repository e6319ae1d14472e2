"""The cache dir: ours, private enough, writable, with room."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path

from kache.reports.render.text import human_bytes
from kache.setup.disk import nearest_existing
from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings

_LITTLE_ROOM_BYTES = 1024**3


def check(around: Surroundings) -> list[Finding]:
    """Look at the directory, or at the nearest one above it that exists."""
    wanted = around.config.cache_dir
    if not wanted.is_absolute():
        why = "each working directory would have its own, and the daemon would never find it"
        return [Finding(FAIL, f"cache dir {wanted} is not absolute", why, "set KACHE_CACHE_DIR to an absolute path")]
    existing = nearest_existing(wanted)
    if not existing.is_dir():
        return [Finding(FAIL, f"{existing} is not a directory", fix="move it away or set KACHE_CACHE_DIR")]
    facts = existing.stat()
    if existing == wanted and facts.st_uid != os.getuid():
        why = f"it belongs to uid {facts.st_uid}, we are {os.getuid()}: its files cannot be trusted"
        return [Finding(FAIL, f"{wanted} is not ours", why, "set KACHE_CACHE_DIR to a directory of your own")]
    try:
        with tempfile.NamedTemporaryFile(dir=existing, prefix=".kache-doctor-"):
            pass
    except OSError as error:
        why = f"{error.strerror}; builds go on uncached"
        return [Finding(FAIL, f"{existing} cannot be written", why, "make it writable or set KACHE_CACHE_DIR")]
    findings = []
    if existing == wanted and facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        why = "whoever can write here decides what your builds contain"
        fix = f"chmod go-w {wanted}"
        findings.append(Finding(WARN, f"{wanted} is writable by others", why, fix, lambda: _close(wanted)))
    free_bytes = shutil.disk_usage(existing).free
    if free_bytes < _LITTLE_ROOM_BYTES:
        why = "when the disk is full, builds go on uncached"
        findings.append(Finding(WARN, f"{human_bytes(free_bytes)} free at {existing}", why, "free space, or kache gc"))
    state = "" if existing == wanted else ", not created yet"
    return [*findings, Finding(OK, f"{wanted}{state}, {human_bytes(free_bytes)} free")]


def _close(directory: Path) -> str:
    directory.chmod(stat.S_IMODE(directory.stat().st_mode) & ~(stat.S_IWGRP | stat.S_IWOTH))
    return f"{directory} is writable by its owner alone"
