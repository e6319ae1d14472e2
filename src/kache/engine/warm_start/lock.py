"""cargo's own lock of a profile directory."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

NAME = b".cargo-lock"


@contextmanager
def locked(directory: bytes, umask: int | None = None) -> Iterator[bool]:
    """Hold it, without waiting; False if a cargo holds it.

    Args:
        directory: `target/debug` and the like.
        umask: cargo's, where the file may have to be made; None to leave a directory without one alone.

    Raises:
        OSError: it cannot be opened.
    """
    path = directory + b"/" + NAME
    if umask is None and not os.path.exists(path):
        yield True
        return
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if umask is not None and os.fstat(fd).st_size == 0 and os.fstat(fd).st_uid == os.geteuid():
            os.fchmod(fd, 0o666 & ~umask)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True
    finally:
        os.close(fd)
