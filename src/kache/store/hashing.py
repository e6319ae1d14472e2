"""Digest of an open file, and which of some byte strings occur in it, in one pass."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import cache

from blake3 import blake3

# Fits the CPU's second-level cache, so that the search finds what the hash has just read (measured: 128 KiB to 1 MiB
# are within 3 %). Read, not mapped: the file may be a live one, and touching a page that somebody cut off is SIGBUS.
_CHUNK_BYTES = 1 << 18


def hash_fd(fd: int) -> bytes:
    """Digest of a file from its start.

    Raises:
        OSError: it cannot be read.
    """
    return scan_fd(fd, ())[0]


def scan_fd(fd: int, needles: Sequence[bytes]) -> tuple[bytes, frozenset[bytes]]:
    """Digest of a file from its start, and the needles that occur in it (empty ones never do).

    Measured on 2 cores: 0.29 s per GB, and 0.15 s more for each needle; a needle that contains one that is absent costs
    nothing.

    Raises:
        OSError: it cannot be read.
    """
    hasher = blake3()
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    # Shortest first: where the workspace's path does not occur, that of its target dir need not be looked for.
    missing = sorted(filter(None, set(needles)), key=len)
    wanted = frozenset(missing)
    carried = max(map(len, missing), default=1) - 1
    if carried * 2 > _CHUNK_BYTES:
        raise ValueError("a needle is longer than half a chunk")
    search = _searcher(buffer) if missing else None
    kept = 0
    os.lseek(fd, 0, os.SEEK_SET)
    while count := os.readv(fd, [view[kept:]]):
        hasher.update(view[kept : kept + count])
        end = kept + count
        if search is not None and missing:
            missing = _still_missing(search, end, missing)
            kept = min(carried, end)
            view[:kept] = bytes(view[end - kept : end])
    return hasher.digest(), wanted.difference(missing)


def _still_missing(search: Callable[[int, bytes], bool], end: int, needles: list[bytes]) -> list[bytes]:
    absent: list[bytes] = []
    for needle in needles:
        if any(shorter in needle for shorter in absent) or not search(end, needle):
            absent.append(needle)
    return absent


def _searcher(buffer: bytearray) -> Callable[[int, bytes], bool]:
    """A search of the buffer's first bytes; memmem is twice as fast as bytes.find, and lets other threads run."""
    memmem = _memmem()
    if memmem is None:
        return lambda end, needle: buffer.find(needle, 0, end) >= 0
    import ctypes

    address = ctypes.addressof(ctypes.c_char.from_buffer(buffer))
    return lambda end, needle: memmem(address, end, needle, len(needle)) is not None


@cache
def _memmem() -> Callable[[int, int, bytes, int], int | None] | None:
    import ctypes  # 10 ms that only a compile with something to look for pays

    try:
        function = ctypes.CDLL(None).memmem
    except (AttributeError, OSError):
        return None
    function.restype = ctypes.c_void_p
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    found: Callable[[int, int, bytes, int], int | None] = function
    return found
