"""What directory trees cost on disk: allocated blocks, every inode once, however many names it has."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BLOCK_BYTES = 512  # the unit of st_blocks, whatever the filesystem's own block size is (stat(2))


@dataclass(frozen=True)
class Inode:
    """One file of a tree.

    Attributes:
        identity: (device, inode number).
        allocated_bytes: st_blocks * 512. A reflinked extent counts in each of its files.
        kind: `executable`, `rmeta`, `cargo` (cargo's own bookkeeping) or `shared` (what a cache could share).
    """

    identity: tuple[int, int]
    allocated_bytes: int
    kind: str


def file_kind(path: Path, mode: int) -> str:
    """Say whether a file of a target directory could be shared between checkouts, and if not, why.

    Build scripts' OUT_DIR, cargo's fingerprints and `.d` files are cargo's own; an executable or shared library is one
    by its mode bit.
    """
    parts = path.parts
    if ".fingerprint" in parts or path.suffix == ".d" or path.name.startswith((".", "CACHEDIR.TAG")):
        return "cargo"
    if "build" in parts:
        below = parts[len(parts) - 1 - parts[::-1].index("build") + 1 :]
        if len(below) >= 2 and (below[1] in ("out", "output", "root-output", "stderr", "invoked.timestamp")):
            return "cargo"
    if path.suffix == ".rmeta":
        return "rmeta"
    return "executable" if mode & 0o111 else "shared"


def inodes(root: Path) -> Iterator[Inode]:
    """Yield every file below a directory once per inode; symlinks are not followed."""
    seen: set[tuple[int, int]] = set()
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder, name)
            found = path.lstat()
            identity = (found.st_dev, found.st_ino)
            if identity in seen:
                continue
            seen.add(identity)
            kind = file_kind(path.relative_to(root), found.st_mode)
            yield Inode(identity, found.st_blocks * BLOCK_BYTES, kind)


def allocated_bytes(roots: Sequence[Path]) -> int:
    """Return what some trees occupy together; a file linked into several of them counts once."""
    return sum({inode.identity: inode.allocated_bytes for root in roots for inode in inodes(root)}.values())


def own_cost(tree: Path, others: Sequence[Path]) -> dict[str, int]:
    """Return what a tree adds to the disk that `others` do not hold already, bytes by kind."""
    held = {inode.identity for other in others for inode in inodes(other)}
    cost = {"executable": 0, "rmeta": 0, "cargo": 0, "shared": 0}
    for inode in inodes(tree):
        if inode.identity not in held:
            cost[inode.kind] += inode.allocated_bytes
    return cost
