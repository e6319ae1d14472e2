"""A file that appears under its name only when it is complete."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
from collections.abc import Callable
from types import TracebackType

from kache.util.processes import FORKING

_NO_TMPFILE = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT})
_counter = itertools.count()
HAS_UNNAMED = hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd")
"""Whether there are files without a name that can get one (filesystems may still lack them)."""


class NewFile:
    """A new inode in the directory of its target: so it gets the group, the ACL and the label that belong there.

    It has no name until `publish` (O_TMPFILE), so that not even a kill leaves a partial file; where the filesystem has
    no such files, it has a temporary one.

    Args:
        target: the path to be.

    Attributes:
        fd: open for writing until it is published; mode 0600 until changed.

    Raises:
        OSError: it cannot be made.
    """

    def __init__(self, target: bytes) -> None:
        self._target = target
        self._temp = b""
        directory = _directory_of(target)
        if HAS_UNNAMED:
            try:
                self.fd = os.open(directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            except OSError as error:
                if error.errno not in _NO_TMPFILE:
                    raise
            else:
                return
        self._temp = _temp_name(directory)
        self.fd = os.open(self._temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def __enter__(self) -> NewFile:
        return self

    def publish(self) -> os.stat_result:
        """Give it its name, in place of whatever file has it, and close it; what stat says of it then.

        Raises:
            OSError: it cannot have it.
        """
        fd, self.fd = self.fd, -1
        if not self._temp:
            return publish_unnamed(fd, self._target)
        make_way(self._target)
        with FORKING:
            try:
                os.rename(self._temp, self._target)
                self._temp = b""
                return os.fstat(fd)
            finally:
                os.close(fd)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.fd >= 0:
            os.close(self.fd)
        if self._temp:
            with contextlib.suppress(OSError):
                os.unlink(self._temp)


def publish_unnamed(fd: int, target: bytes) -> os.stat_result:
    """Give an unnamed file (O_TMPFILE) its name, in place of whatever file has it, and close it.

    Raises:
        OSError: it cannot have it; it is closed all the same.
    """
    # With a dir_fd Python calls linkat(AT_SYMLINK_FOLLOW), which open(2) names for this; the path is absolute.
    path = b"/proc/self/fd/%d" % fd
    with FORKING:
        try:
            link_over(lambda name: os.link(path, name, src_dir_fd=fd, follow_symlinks=True), target)
            return os.fstat(fd)
        finally:
            os.close(fd)


def link_over(link: Callable[[bytes], None], target: bytes) -> None:
    """Give an inode a name, in place of whatever file has it; the name is never seen with partial content.

    Args:
        link: makes a link of the name it is given, which must not exist.
        target: the name.

    Raises:
        OSError: it cannot have it.
    """
    try:
        link(target)
    except FileExistsError:
        make_way(target)
        temp = _temp_name(_directory_of(target))
        link(temp)
        try:
            os.rename(temp, target)
        finally:
            # Still there if the rename failed, or if both names were one inode already: then it does nothing.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temp)


def make_way(target: bytes) -> None:
    """Remove what a rename would replace.

    ext4 writes a new file to the disk before it lets a rename replace another by it (auto_da_alloc, 0.6 ms).
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(target)


def _directory_of(target: bytes) -> bytes:
    return os.path.dirname(target) or b"."


def _temp_name(directory: bytes) -> bytes:
    return b"%b/.kache-%d-%d.tmp" % (directory, os.getpid(), next(_counter))
