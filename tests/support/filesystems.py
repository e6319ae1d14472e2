"""Filesystems made for a test: images mounted by loop, a small tmpfs, a read-only view. They need root."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_IMAGE_BYTES = 320 * 1024 * 1024
"""mkfs.xfs refuses less than 300 MB."""
_MAKERS = {
    "xfs": ["mkfs.xfs", "-q", "-m", "reflink=1"],
    "btrfs": ["mkfs.btrfs", "-q"],
    "ext4": ["mkfs.ext4", "-q"],
}


@contextmanager
def mounted(kind: str, room: Path) -> Iterator[Path]:
    """A new filesystem of a kind, mounted; skips the test where that cannot be.

    Args:
        kind: xfs, btrfs, ext4.
        room: scratch directory for the image and the mount point.
    """
    maker = _MAKERS[kind]
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    program = shutil.which(maker[0], path=path)
    if os.getuid() != 0 or program is None:
        pytest.skip(f"needs root and {maker[0]}")
    image, point = room / f"{kind}.img", room / kind
    with image.open("wb") as file:
        file.truncate(_IMAGE_BYTES)
    point.mkdir()
    made = subprocess.run([program, *maker[1:], str(image)], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    _mount(["-o", "loop", str(image)], point)
    try:
        yield point
    finally:
        _unmount(point)
        image.unlink()


@contextmanager
def small_tmpfs(room: Path, size_bytes: int) -> Iterator[Path]:
    """A tmpfs that is soon full."""
    point = room / "tmpfs"
    point.mkdir()
    _mount(["-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs"], point)
    try:
        yield point
    finally:
        _unmount(point)


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """A directory made read-only for everybody, root too."""
    _mount(["--bind", str(directory)], directory)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True, capture_output=True)
        yield
    finally:
        _unmount(directory)


def _mount(words: list[str], point: Path) -> None:
    if os.getuid() != 0:
        pytest.skip("needs root to mount")
    done = subprocess.run(["mount", *words, str(point)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")


def _unmount(point: Path) -> None:
    done = subprocess.run(["umount", str(point)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        # A failed test may hold a file open; the mount goes when that does.
        subprocess.run(["umount", "-l", str(point)], check=True, capture_output=True)
