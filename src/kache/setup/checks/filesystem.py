"""The filesystem below the cache dir: SQLite's WAL needs shared memory that network filesystems do not give."""

from __future__ import annotations

import os
from pathlib import Path

from kache.setup.disk import nearest_existing
from kache.setup.finding import FAIL, OK, SKIP, Finding, Surroundings

MOUNTINFO = Path("/proc/self/mountinfo")
UNSAFE = frozenset(
    {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb2", "smb3", "smbfs", "virtiofs"}
)


def check(around: Surroundings) -> list[Finding]:
    """Name the filesystem; fail on those where two writers can damage the index."""
    directory = Path(os.path.realpath(nearest_existing(around.config.cache_dir)))
    try:
        table = MOUNTINFO.read_text(errors="surrogateescape")
    except OSError:
        return [Finding(SKIP, "this system does not list its mounts")]
    kind = filesystem_of(directory, table)
    if is_unsafe(kind):
        why = f"{kind} gives SQLite's WAL no shared memory; builds pass through uncached"
        return [Finding(FAIL, f"the cache dir is on {kind}", why, "set KACHE_CACHE_DIR to a local disk")]
    return [Finding(OK, f"the cache dir is on {kind or 'an unknown filesystem'}")]


def is_unsafe(kind: str) -> bool:
    """Whether WAL is unsafe on this type; FUSE may be anything, so it counts as remote."""
    return kind in UNSAFE or kind == "fuse" or kind.startswith("fuse.")


def filesystem_of(directory: Path, mountinfo: str) -> str:
    """Type of the filesystem a directory is on, from the text of /proc/self/mountinfo (proc(5)). Pure."""
    best, kind = -1, ""
    for line in mountinfo.splitlines():
        fields, dash, rest = line.partition(" - ")
        words = fields.split(" ")
        if not dash or len(words) < 5:
            continue
        point = words[4].replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
        # On a tie the later mount lies over the earlier one.
        if len(point) >= best and (directory == Path(point) or Path(point) in directory.parents):
            best, kind = len(point), rest.split(" ", 1)[0]
    return kind
