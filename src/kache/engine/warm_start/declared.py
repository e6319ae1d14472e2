"""What a build script declares that it reads: content and dates of files, and of directories with all below them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from kache.compilers.file_digests import FileDigests
from kache.core.digest import hash_parts

MAX_FILES = 2_000
"""Below a directory that is looked at each time."""


def content_of(path: bytes, digests: FileDigests) -> bytes | None:
    """Content of a declared path: of a file, of a directory with everything below, empty for one that is absent.

    Returns:
        None for a directory too large to look at each time, or with a link to another one in it.

    Raises:
        OSError: it cannot be read, or is a link that leads nowhere.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        if not os.path.lexists(path):
            return b""
        raise
    if not stat.S_ISDIR(found.st_mode):
        return digests.digest_of(path, found)
    parts: list[bytes] = []
    for file, found in tree(path):
        if len(parts) > MAX_FILES or (stat.S_ISLNK(found.st_mode) and os.path.isdir(file)):
            return None
        is_file = os.path.isfile(file)
        parts += [os.path.relpath(file, path), digests.digest(file) if is_file else b"?"]
        parts += [os.readlink(file)] if stat.S_ISLNK(found.st_mode) else []
    return hash_parts(parts)


def changed_ns(path: bytes) -> int:
    """When a declared path, or something below it, changed last, whatever its date says; of an absent one its parent.

    A date in the future is one that cargo finds changed each time, and no change.
    """
    if not os.path.lexists(path):
        parent = os.path.dirname(path)
        return _ctime_ns(parent) if os.path.isdir(parent) else 0
    newest = _ctime_ns(path)
    for file, _ in tree(path):
        newest = max(newest, _ctime_ns(file), _ctime_ns(os.path.dirname(file)))
    return newest


def _ctime_ns(path: bytes) -> int:
    """Of a file, and of the link that leads to it."""
    found = os.lstat(path)
    if not stat.S_ISLNK(found.st_mode):
        return found.st_ctime_ns
    return max(found.st_ctime_ns, os.stat(path).st_ctime_ns) if os.path.exists(path) else found.st_ctime_ns


def newest_ns(path: bytes) -> int:
    """The newest date of a path and of all below it, as cargo takes it of what a script watches; 0 without it."""
    try:
        newest = os.stat(path).st_mtime_ns
        for file, found in tree(path):
            newest = max(newest, found.st_mtime_ns, os.stat(os.path.dirname(file)).st_mtime_ns)
            if stat.S_ISLNK(found.st_mode) and os.path.exists(file):
                newest = max(newest, os.stat(file).st_mtime_ns)
    except OSError:
        return 0
    return newest


def tree(base: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    """Every file, and what is no file: links, and directories with nothing in them."""
    for folder, folders, names in os.walk(base):
        folders.sort()
        odd = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        for name in (*sorted(names), *odd):
            path = os.path.join(folder, name)
            yield path, os.lstat(path)
        if not names and not folders and folder != base:
            yield folder, os.lstat(folder)
