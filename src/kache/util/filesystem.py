"""Which filesystem a directory is on, and whether SQLite's WAL is safe there."""

from __future__ import annotations

from pathlib import Path

MOUNTINFO = Path("/proc/self/mountinfo")
UNSAFE = frozenset(
    {"9p", "afs", "ceph", "cifs", "glusterfs", "lustre", "nfs", "nfs4", "smb2", "smb3", "smbfs", "virtiofs"}
)


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


def unsafe_kind(directory: Path) -> str:
    """The filesystem's type if WAL is unsafe below this directory, else the empty text.

    Made for every start of the in-process path: most machines have no unsafe mount at all, and then no line is parsed
    (20 mounts: 30 us against 250 us).
    """
    try:
        table = MOUNTINFO.read_text(errors="surrogateescape")
    except OSError:  # a system that does not list its mounts
        return ""
    kinds = {line.partition(" - ")[2].split(" ", 1)[0] for line in table.splitlines()}
    if not any(map(is_unsafe, kinds)):
        return ""
    kind = filesystem_of(directory.resolve(), table)
    return kind if is_unsafe(kind) else ""
