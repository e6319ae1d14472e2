"""File content from one open file to another: by reflink, by the kernel's copy, or by hand."""

from __future__ import annotations

import errno
import fcntl
import os

_FICLONE = 0x40049409
"""Source: linux/fs.h, _IOW(0x94, 9, int). macOS clones by path, not by descriptor: files are copied there."""
_CHUNK_BYTES = 1 << 20
_CANNOT_CLONE = frozenset(
    {errno.EOPNOTSUPP, errno.ENOTSUP, errno.EXDEV, errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EPERM}
)
_CANNOT_COPY_RANGE = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF})

# (source device, target device) that refused once: on ext4 no restore pays for asking again.
_refused: set[tuple[int, int]] = set()


def may_clone(source_dev: int, target_dev: int) -> bool:
    """Whether a reflink between two devices (st_dev) is worth a try: false once the kernel has refused it."""
    return (source_dev, target_dev) not in _refused


def clone(source_fd: int, target_fd: int) -> bool:
    """Share the source's extents with an empty target.

    Returns:
        False where the filesystem cannot, which is remembered for the two devices.

    Raises:
        OSError: it can, but failed (no space, I/O error).
    """
    pair = (os.fstat(source_fd).st_dev, os.fstat(target_fd).st_dev)
    if pair in _refused:
        return False
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError as error:
        if error.errno not in _CANNOT_CLONE:
            raise
        _refused.add(pair)
        return False
    return True


def copy(source_fd: int, target_fd: int) -> None:
    """Copy a whole file into an empty one, both at offset 0.

    Raises:
        OSError: reading or writing failed.
    """
    if hasattr(os, "copy_file_range") and _copy_range(source_fd, target_fd):
        return
    os.lseek(source_fd, 0, os.SEEK_SET)
    os.lseek(target_fd, 0, os.SEEK_SET)
    while chunk := os.read(source_fd, _CHUNK_BYTES):
        view = memoryview(chunk)
        while view:
            view = view[os.write(target_fd, view) :]


def _copy_range(source_fd: int, target_fd: int) -> bool:
    """Copy in the kernel; False if it cannot between these two, or claims an end before the first byte."""
    size = os.fstat(source_fd).st_size
    done = 0
    try:
        while count := os.copy_file_range(source_fd, target_fd, max(size - done, _CHUNK_BYTES)):
            done += count
    except OSError as error:
        if error.errno in _CANNOT_COPY_RANGE and not done:
            return False
        raise
    return done > 0 or size == 0
