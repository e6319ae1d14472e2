"""Private copies of large blobs, made before a restore asks for them."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import NamedTuple

from kache.errors import BlobBrokenError
from kache.store.blobs import Blobs
from kache.util import copying
from kache.util.new_file import HAS_UNNAMED

MIN_BYTES = 4 << 20
"""Smaller files are copied in less than 2 ms."""
MAX_BYTES = 256 << 20
"""Of all copies together: they wait in the page cache, and nobody may want them."""
_DEFAULT_ACL = "system.posix_acl_default"
_LABELS = Path("/sys/fs/selinux/enforce")


class Copy(NamedTuple):
    """An unnamed file.

    Attributes:
        fd: open for writing, at no particular offset; whoever took the copy closes it.
        content: `content_of` the blob it was made of.
    """

    fd: int
    content: tuple[int, int, int]


class ReadyCopies:
    """Unnamed files (O_TMPFILE) on the store's filesystem: nothing is left of them, whatever happens.

    cargo reads manifests on one core before it asks for anything; a program of 45 MB takes 15 ms to copy, and is what
    a build waits for at its end. Any thread may call any method.
    """

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._copies: dict[bytes, Copy] = {}
        self._bytes = 0
        self._lock = threading.Lock()
        self._making = threading.Lock()

    def make(self, digest: bytes) -> None:
        """Copy a blob, unless there is a copy, all of them would be too much, or a reflink takes no time.

        Raises:
            OSError: it cannot be copied.
            BlobBrokenError: it is missing or altered.
        """
        device = self._blobs.device
        if not HAS_UNNAMED or copying.may_clone(device, device):
            return
        with self._making:
            if digest not in self._copies:
                self._make(digest)

    def _make(self, digest: bytes) -> None:
        with self._blobs.links:
            checked = self._blobs.checked(digest)
        if checked.st_size < MIN_BYTES or self._bytes + checked.st_size > MAX_BYTES:
            return
        source = os.open(self._blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            made = os.open(self._blobs.directory, os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            try:
                copying.copy(source, made)
                if content_of(os.fstat(source)) != content_of(checked):
                    raise BlobBrokenError(digest)
            except BaseException:
                os.close(made)
                raise
        finally:
            os.close(source)
        with self._lock:
            self._copies[digest] = Copy(made, content_of(checked))
            self._bytes += checked.st_size

    def take(self, digest: bytes, directory: bytes) -> Copy | None:
        """Hand out the copy of a blob for a directory, if there is one and it would be no other file if made there."""
        if digest not in self._copies or not self._is_at_home(directory):
            return None
        with self._lock:
            copy = self._copies.pop(digest, None)
            if copy is not None:
                self._bytes -= copy.content[1]
        return copy

    def _is_at_home(self, directory: bytes) -> bool:
        """Whether a file of a directory gets the group, the ACL and the label of one made in the store's."""
        there, here = os.stat(directory), os.stat(self._blobs.directory)
        if (there.st_dev, there.st_gid) != (here.st_dev, here.st_gid) or _LABELS.exists():
            return False
        try:
            os.getxattr(directory, _DEFAULT_ACL)
        except OSError:
            return True
        return False

    def drop(self) -> None:
        """Close what nobody took."""
        with self._lock:
            copies, self._copies, self._bytes = self._copies, {}, 0
        for copy in copies.values():
            os.close(copy.fd)


def content_of(found: os.stat_result) -> tuple[int, int, int]:
    """What moves when a file's content does (its ctime moves with other links as well): inode, size, mtime."""
    return (found.st_ino, found.st_size, found.st_mtime_ns)
