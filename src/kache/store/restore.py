"""A blob put at a path of a target dir: by reflink, hardlink or copy, never by writing through what is there."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import stat
import time
from dataclasses import dataclass

from kache.core.entry import FileIdentity
from kache.errors import BlobBrokenError, StoreError
from kache.store.blobs import Blobs, BlobState
from kache.store.ready_copies import ReadyCopies, content_of
from kache.util import copying
from kache.util.new_file import NewFile, link_over, publish_unnamed

_CANNOT_LINK = frozenset({errno.EMLINK, errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP})
_TRIES = 3


class RestoreHow(enum.Enum):
    """What a restored file may be."""

    SHARED = "shared"
    """The blob's own inode, with its old date: for what nothing writes in place."""
    PRIVATE = "private"
    """A file of its own, dated now by the kernel."""


class RestoreMethod(enum.StrEnum):
    """How the bytes got there."""

    LINKED = "linked"
    CLONED = "cloned"
    COPIED = "copied"


@dataclass(frozen=True, slots=True)
class Restored:
    """A file that was put in place.

    Attributes:
        method: how.
        bytes: its size.
        identity: what stat says of it now. A linked file shares its inode with other targets: the next link to or
            unlink of any of them moves its ctime.
    """

    method: RestoreMethod
    bytes: int
    identity: FileIdentity


def restore(blobs: Blobs, ready: ReadyCopies, digest: bytes, target: bytes, *, mode: int, how: RestoreHow) -> Restored:
    """Put a blob at a path, as a new inode there; see `LocalStore.restore`.

    Raises:
        BlobBrokenError: it is missing or altered; nothing has been removed.
        StoreError: the target cannot be written.
    """
    try:
        if how is RestoreHow.PRIVATE:
            return _hand_over(blobs, ready, digest, target, mode) or _must(_copy(blobs, digest, target, mode), digest)
        return (
            (_copy(blobs, digest, target, mode, shared=True, only_clone=True) if _would_clone(blobs) else None)
            or _link(blobs, digest, target, mode)
            or _must(_copy(blobs, digest, target, mode, shared=True), digest)
        )
    except OSError as error:
        raise StoreError(f"cannot restore {os.fsdecode(target)}", why=error.strerror or str(error)) from error


def _would_clone(blobs: Blobs) -> bool:
    """Whether a reflink is worth a try: it is private, and as cheap as a link."""
    dev = blobs.device
    return copying.may_clone(dev, dev)


def _must(made: Restored | None, digest: bytes) -> Restored:
    if made is None:  # somebody keeps writing to it
        raise BlobBrokenError(digest)
    return made


def _link(blobs: Blobs, digest: bytes, target: bytes, mode: int) -> Restored | None:
    """Make the target one more name of the blob; None if it cannot be."""
    with blobs.links:
        found = blobs.checked_for_link(digest)
        if stat.S_IMODE(found.st_mode) != mode or found.st_uid != os.geteuid() or _is_ahead(found):
            return None
        path = blobs.path(digest)
        try:
            link_over(lambda name: os.link(path, name, follow_symlinks=False), target)
        except FileNotFoundError as error:
            if os.path.lexists(path):
                raise  # the target's directory is not there
            raise BlobBrokenError(digest) from error
        except OSError as error:
            if error.errno in _CANNOT_LINK:
                return None
            raise
        after = os.lstat(target)
        if (after.st_ino, after.st_size, after.st_mtime_ns) != (found.st_ino, found.st_size, found.st_mtime_ns):
            # Replaced or written to in the microseconds between check and link.
            with contextlib.suppress(OSError):
                os.unlink(target)
            blobs.forget(digest)
            return None
        blobs.remember(digest, BlobState.of(after))
    return Restored(RestoreMethod.LINKED, after.st_size, FileIdentity.of(after))


def _hand_over(blobs: Blobs, ready: ReadyCopies, digest: bytes, target: bytes, mode: int) -> Restored | None:
    """Make the target a copy that was made beforehand, dated now; None if there is none, or no longer right."""
    copy = ready.take(digest, os.path.dirname(target))
    if copy is None:
        return None
    try:
        with blobs.links:
            checked = blobs.checked(digest)
        is_right = content_of(checked) == copy.content
        if is_right:
            os.fchmod(copy.fd, mode)
            os.utime(copy.fd)
    except BaseException:
        os.close(copy.fd)
        raise
    if not is_right:
        os.close(copy.fd)
        return None
    try:
        found = publish_unnamed(copy.fd, target)
    except OSError as error:
        if error.errno in _CANNOT_LINK:  # across bind mounts or quota projects of one device
            return None
        raise
    return Restored(RestoreMethod.COPIED, checked.st_size, FileIdentity.of(found))


def _copy(
    blobs: Blobs, digest: bytes, target: bytes, mode: int, *, shared: bool = False, only_clone: bool = False
) -> Restored | None:
    """Make the target a file of its own with the blob's content, dated as the blob if `shared`.

    Returns:
        None if only a reflink would do and there is none, or if the blob never held still.
    """
    for _ in range(_TRIES):
        with blobs.links:
            checked = blobs.checked(digest)
        try:
            fd = os.open(blobs.path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError as error:
            raise BlobBrokenError(digest) from error
        try:
            with NewFile(target) as new:
                # Both ways leave the kernel's present time as the file's date: no utime is needed for that.
                cloned = copying.clone(fd, new.fd)
                if not cloned:
                    if only_clone:
                        return None
                    copying.copy(fd, new.fd)
                if content_of(os.fstat(fd)) != content_of(checked):
                    continue
                os.fchmod(new.fd, mode)
                if shared and not _is_ahead(checked):
                    os.utime(new.fd, ns=(checked.st_mtime_ns, checked.st_mtime_ns))
                found = new.publish()
                method = RestoreMethod.CLONED if cloned else RestoreMethod.COPIED
                return Restored(method, checked.st_size, FileIdentity.of(found))
        finally:
            os.close(fd)
    return None


def _is_ahead(found: os.stat_result) -> bool:
    """Whether a blob was made while the clock was ahead: with that date everything above it would never be fresh."""
    return found.st_mtime_ns > time.time_ns()
