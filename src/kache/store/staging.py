"""An output of a compile on its way into the store: linked or copied to a temporary name, and hashed there."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass

from blake3 import blake3

from kache.core.entry import FileIdentity
from kache.errors import BlobBrokenError, OutputChangedError, StoreError
from kache.store import hashing
from kache.store.blobs import Blobs
from kache.util import copying

_CANNOT_LINK = frozenset({errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EACCES})
_TRIES = 3
_PRIVATE_MODE = 0o444
"""Mode of blobs that are no other file: nothing but the store has a reason to open them."""
_SHARED_MODE = 0o644
"""Mode of blobs from elsewhere that may be linked into target dirs: a file's under the usual umask."""


@dataclass(slots=True)
class Staged:
    """A file that can be committed.

    Attributes:
        digest: of its content.
        size: in bytes.
        mode: permission bits of the live file.
        found: the needles that occur in its content.
        identity: of the LIVE file as we left it: our link moved its ctime, and `LocalStore.commit` and `discard`, which
            rename or remove that link, move it again and renew this.
        source: path of the live file.
        temp: where it waits; empty once committed or discarded.
        is_link: `temp` is a second name of the live file.
    """

    digest: bytes
    size: int
    mode: int
    found: frozenset[bytes]
    identity: FileIdentity
    source: bytes
    temp: bytes
    is_link: bool

    def renew_identity(self) -> None:
        """Stat the live file again, unless another file is at its path by now."""
        if not self.is_link:
            return
        with contextlib.suppress(OSError):
            found = FileIdentity.of(os.lstat(self.source))
            if (found[:4]) == self.identity[:4]:
                self.identity = found


class Receiving:
    """A blob that arrives piece by piece, under a temporary name until its content is known to be right.

    Args:
        blobs: whose temporary directory to use.
        digest: what its content must have.
        size: what its size must be.
        share: it may be linked into target dirs, so it gets the mode of a file there.
        date_ns: its date; None for now.

    Raises:
        StoreError: it cannot be written, as `write` does.
    """

    def __init__(self, blobs: Blobs, digest: bytes, size: int, *, share: bool, date_ns: int | None = None) -> None:
        self._date_ns = date_ns
        self._digest, self._size = digest, size
        self._mode = _SHARED_MODE if share else _PRIVATE_MODE
        self._temp = blobs.temp()
        self._hasher = blake3()
        try:
            self._fd = _create(self._temp)
        except OSError as error:
            raise _cannot(self._temp, error) from error

    def write(self, piece: bytes) -> None:
        """Take the next piece."""
        self._hasher.update(piece)
        view = memoryview(piece)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            raise _cannot(self._temp, error) from error

    def finish(self) -> Staged:
        """It is complete.

        Raises:
            BlobBrokenError: it is not what it was to be.
            StoreError: it cannot be written.
        """
        try:
            found = os.fstat(self._fd)
            if self._hasher.digest() != self._digest or found.st_size != self._size:
                raise BlobBrokenError(self._digest)
            os.fchmod(self._fd, self._mode)
            if self._date_ns is not None:
                os.utime(self._fd, ns=(self._date_ns, self._date_ns))
            found = os.fstat(self._fd)
        except OSError as error:
            raise _cannot(self._temp, error) from error
        finally:
            self._close()
        identity = FileIdentity.of(found)
        temp, self._temp = self._temp, b""
        return Staged(self._digest, found.st_size, self._mode, frozenset(), identity, temp, temp, is_link=False)

    def drop(self) -> None:
        """Forget what has come."""
        self._close()
        if self._temp:
            with contextlib.suppress(OSError):
                os.unlink(self._temp)
            self._temp = b""

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def stage(blobs: Blobs, path: bytes, *, share: bool, needles: Sequence[bytes] = ()) -> Staged:
    """Take a file in.

    Args:
        blobs: whose temporary directory to use.
        path: the live file; its writer must have ended.
        share: the file may become the blob itself, by a hardlink (nothing writes it in place).
        needles: byte strings to look for.

    Raises:
        FileNotFoundError: there is no such file.
        OutputChangedError: it was written to meanwhile.
        StoreError: it is no file, or cannot be read, linked or copied.
    """
    temp = blobs.temp()
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _cannot(path, error) from error
    try:
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise StoreError(f"cannot store {os.fsdecode(path)}", why="it is no regular file")
            if not (share and _may_share(found)):
                return _copy(path, fd, temp, needles)
            return (
                (_clone(path, fd, temp, needles) if _would_clone(blobs, found) else None)
                or _link(path, fd, temp, needles)
                or _copy(path, fd, temp, needles, mode=stat.S_IMODE(found.st_mode))
            )
        finally:
            os.close(fd)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(temp)
        if isinstance(error, OSError):
            raise _cannot(path, error) from error
        raise


def _cannot(path: bytes, error: OSError) -> StoreError:
    return StoreError(f"cannot store {os.fsdecode(path)}", why=error.strerror or str(error))


def _may_share(found: os.stat_result) -> bool:
    """Ours, and with a mode that a restored file can have: rustc refuses to replace a read-only one."""
    return found.st_uid == os.geteuid() and found.st_mode & 0o600 == 0o600


def _would_clone(blobs: Blobs, found: os.stat_result) -> bool:
    """Whether a reflink is worth a try: it is private, and as cheap as a link."""
    return copying.may_clone(found.st_dev, blobs.device)


def _link(path: bytes, fd: int, temp: bytes, needles: Sequence[bytes]) -> Staged | None:
    """Stage a second name of the live file; None if it cannot have one."""
    try:
        os.link(path, temp, follow_symlinks=False)
    except OSError as error:
        if error.errno in _CANNOT_LINK:
            return None
        raise
    for _ in range(_TRIES):
        before = os.fstat(fd)
        linked = os.lstat(temp)
        if (linked.st_dev, linked.st_ino) != (before.st_dev, before.st_ino):
            break  # replaced between open and link
        digest, found = hashing.scan_fd(fd, needles)
        after = os.fstat(fd)
        # Only ctime moved: cargo gave it its second name under target/debug. Hash again, the content may have too.
        if FileIdentity.of(before) == FileIdentity.of(after):
            mode = stat.S_IMODE(after.st_mode)
            return Staged(digest, after.st_size, mode, found, FileIdentity.of(after), path, temp, is_link=True)
    raise OutputChangedError(f"{os.fsdecode(path)} changed while it was stored")


def _clone(path: bytes, fd: int, temp: bytes, needles: Sequence[bytes]) -> Staged | None:
    """Stage a reflink that keeps the mode; None if the filesystem has none."""
    copy_fd = _create(temp)
    try:
        if not copying.clone(fd, copy_fd):
            os.unlink(temp)
            return None
        found = os.fstat(fd)
        return _finish(path, (found, found), (copy_fd, temp), needles, stat.S_IMODE(found.st_mode))
    finally:
        os.close(copy_fd)


def _copy(path: bytes, fd: int, temp: bytes, needles: Sequence[bytes], *, mode: int = _PRIVATE_MODE) -> Staged:
    """Stage a reflink or else a copy."""
    before = os.fstat(fd)
    copy_fd = _create(temp)
    try:
        if not copying.clone(fd, copy_fd):
            copying.copy(fd, copy_fd)
        return _finish(path, (before, os.fstat(fd)), (copy_fd, temp), needles, mode)
    finally:
        os.close(copy_fd)


def _create(temp: bytes) -> int:
    return os.open(temp, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _finish(
    path: bytes,
    live: tuple[os.stat_result, os.stat_result],
    copy: tuple[int, bytes],
    needles: Sequence[bytes],
    mode: int,
) -> Staged:
    """Hash the staged copy and give it its mode and date; `live` is the source's stat before and after."""
    before, after = FileIdentity.of(live[0]), FileIdentity.of(live[1])
    # ctime alone may move: cargo links the file to its second name under target/debug.
    if before[:4] != after[:4]:
        raise OutputChangedError(f"{os.fsdecode(path)} changed while it was stored")
    copy_fd, temp = copy
    digest, found = hashing.scan_fd(copy_fd, needles)
    os.fchmod(copy_fd, mode)
    os.utime(copy_fd, ns=(after.mtime_ns, after.mtime_ns))
    return Staged(digest, after.size, stat.S_IMODE(live[1].st_mode), found, after, path, temp, is_link=False)
