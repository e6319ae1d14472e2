"""blake3 digests: of bytes, of a file, of a list of parts."""

from __future__ import annotations

import os
from collections.abc import Iterable

from blake3 import blake3

Digest = bytes
"""32 raw bytes of blake3."""

# Fits the CPU's second-level cache. Read, never mapped: touching a page of a file that somebody cut off is SIGBUS.
_CHUNK_BYTES = 1 << 18


def hash_bytes(data: bytes | memoryview) -> Digest:
    """Digest of some bytes."""
    return blake3(data).digest()


def hash_parts(parts: Iterable[bytes]) -> Digest:
    """Digest of a list: each part is preceded by its length, so no two lists run together."""
    hasher = blake3()
    for part in parts:
        hasher.update(len(part).to_bytes(8, "little"))
        hasher.update(part)
    return hasher.digest()


def hash_file(path: bytes | str | os.PathLike[str]) -> Digest:
    """Digest of a file's content.

    Raises:
        OSError: it cannot be opened or read.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        hasher = blake3()
        chunk = memoryview(bytearray(min(os.fstat(fd).st_size + 1, _CHUNK_BYTES)))
        while count := os.readv(fd, (chunk,)):
            hasher.update(chunk[:count])
        return hasher.digest()
    finally:
        os.close(fd)
