"""Packs: the blobs of entries as one tar in zstd, so that one request brings them all.

    pack   = zstd(member…, 1024 zero bytes)             of one entry
           | part… zstd(1024 zero bytes)                of several, each part a frame of its own that can be read alone
    part   = zstd(member…)                              the blobs of one entry
    member = ustar header (name: the blob's digest in hex; mode 0644; no owner, no date), content, zeros up to 512

A pack is named by the digest of the compressed bytes. Anybody's `tar --zstd -t` reads one. We do not: a signed manifest
says which blobs of which size must be there in which order, so every byte of every header is known beforehand, and what
differs is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from blake3 import blake3

from kache.core.digest import Digest
from kache.errors import RemoteObjectError
from kache.remote import compression
from kache.remote.documents import Member, Part

_BLOCK = 512
_END = bytes(2 * _BLOCK)
_CHUNK_BYTES = 1 << 18
_PIECE_BYTES = 1 << 20


class Packed(NamedTuple):
    """A pack as written."""

    digest: Digest
    size: int


class BlobFile(Protocol):
    """Takes the content of one blob, in pieces."""

    def write(self, piece: bytes) -> object:
        """Take the next piece."""


def header(member: Member) -> bytes:
    """The ustar header of a member; the only one that is accepted for it."""
    fields = (
        (member.digest.hex().encode(), 100),
        (b"0000644\0", 8),
        (b"0000000\0", 8),
        (b"0000000\0", 8),
        (b"%011o\0" % member.size, 12),
        (b"00000000000\0", 12),
        (b"        ", 8),  # the checksum, blank while it is summed
        (b"0", 1),
        (b"", 100),
        (b"ustar\x0000", 8),
        (b"", 247),
    )
    block = b"".join(value.ljust(width, b"\0") for value, width in fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def write_pack(target: int, members: Sequence[Member], open_blob: Callable[[Digest], int]) -> Packed:
    """Write a pack into an open file.

    Args:
        target: file descriptor.
        members: what goes in, in this order.
        open_blob: opens a blob for reading; the descriptor is closed here.

    Raises:
        RemoteObjectError: a blob is not what its digest says: it must not leave this machine.
        OSError: a blob cannot be read, or the pack not written.
    """
    return _write_frame(target, members, open_blob, _END)


class PackWriter:
    """Writes a pack of several entries into an open file.

    Args:
        target: file descriptor, open for reading as well.
        open_blob: as for `write_pack`.
    """

    def __init__(self, target: int, open_blob: Callable[[Digest], int]) -> None:
        self._target = target
        self._open_blob = open_blob
        self._size = 0

    def add(self, members: Sequence[Member]) -> Part:
        """Append the blobs of an entry; if that fails, the pack is as it was before.

        Raises:
            RemoteObjectError, OSError: as `write_pack`.
        """
        offset = self._size
        try:
            frame = _write_frame(self._target, members, self._open_blob, b"")
        except BaseException:
            os.ftruncate(self._target, offset)
            os.lseek(self._target, offset, os.SEEK_SET)
            raise
        self._size += frame.size
        return Part(offset, frame.size, frame.digest)

    def finish(self) -> Packed:
        """End the archive.

        Raises:
            OSError: it cannot be written or read.
        """
        self._size += _write_frame(self._target, (), self._open_blob, _END).size
        whole = blake3()
        at = 0
        while chunk := os.pread(self._target, _PIECE_BYTES, at):
            whole.update(chunk)
            at += len(chunk)
        return Packed(whole.digest(), at)


def _write_frame(target: int, members: Sequence[Member], open_blob: Callable[[Digest], int], end: bytes) -> Packed:
    """Write one zstd frame, and say what its digest and size are."""
    packer, hasher, size = compression.compressor(), blake3(), 0

    def put(data: bytes) -> None:
        nonlocal size
        hasher.update(data)
        size += len(data)
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]

    for member in members:
        put(packer.compress(header(member)))
        content, left = blake3(), member.size
        fd = open_blob(member.digest)
        try:
            while chunk := os.read(fd, _CHUNK_BYTES):
                content.update(chunk)
                left -= len(chunk)
                put(packer.compress(chunk))
        finally:
            os.close(fd)
        if left or content.digest() != member.digest:
            raise RemoteObjectError(
                f"blob {member.digest.hex()[:16]} is not what it was", why="it was altered on this disk"
            )
        put(packer.compress(bytes(-member.size % _BLOCK)))
    put(packer.compress(end))
    put(packer.flush())
    return Packed(hasher.digest(), size)


class Unpacker:
    """Takes a pack, or one part of it, piece by piece as it arrives, and gives out its blobs.

    Args:
        members: what the signed manifest says is in it.
        packed: digest and size of the pack or the part, from the same place.
        begin: gives what takes a blob's content, and checks it. Whatever was written is worthless until `finish` has
            returned.
        is_part: the end of the archive is not in it.
    """

    def __init__(
        self,
        members: Sequence[Member],
        packed: Packed,
        begin: Callable[[Member], BlobFile],
        *,
        is_part: bool = False,
    ) -> None:
        self._packed = packed
        self._begin = begin
        self._unpacker = compression.decompressor()
        self._arrived = blake3()
        self._arrived_bytes = 0
        self._plan = _plan(members, b"" if is_part else _END)
        self._step = _Step(0, b"")
        self._left = 0
        self._done = False
        while not self._left and not self._done:
            self._next()

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the pack.

        Raises:
            RemoteObjectError: this is not the pack that was signed.
            OSError: a blob cannot be written.
        """
        self._arrived_bytes += len(data)
        if self._arrived_bytes > self._packed.size:
            raise RemoteObjectError("a pack is longer than its manifest says")
        self._arrived.update(data)
        try:
            piece = self._unpacker.decompress(data, _PIECE_BYTES)
            while True:
                self._take(memoryview(piece))
                if self._unpacker.eof or self._unpacker.needs_input:
                    break
                piece = self._unpacker.decompress(b"", _PIECE_BYTES)
        except (compression.Error, EOFError) as error:
            raise RemoteObjectError("a pack cannot be unpacked", why=str(error)) from error
        if self._unpacker.unused_data:
            raise RemoteObjectError("a pack has something after its end")

    def finish(self) -> None:
        """Say that nothing more comes.

        Raises:
            RemoteObjectError: something is missing, or the pack is not the one that was signed.
        """
        whole = self._done and self._unpacker.eof
        if not whole or Packed(self._arrived.digest(), self._arrived_bytes) != self._packed:
            raise RemoteObjectError("a pack is cut short or altered")

    def _take(self, piece: memoryview) -> None:
        while piece:
            if self._done:
                raise RemoteObjectError("a pack holds more than its manifest says")
            part, piece = piece[: self._left], piece[self._left :]
            if self._step.expected is None:
                assert self._blob is not None
                self._blob.write(bytes(part))
            else:
                at = self._step.size - self._left
                if part != self._step.expected[at : at + len(part)]:
                    raise RemoteObjectError("a pack does not hold what its manifest says")
            self._left -= len(part)
            while not self._left and not self._done:
                self._next()

    def _next(self) -> None:
        step = next(self._plan, None)
        if step is None:
            self._done = True
            return
        self._step, self._left = step, step.size
        self._start()

    def _start(self) -> None:
        self._blob = None if self._step.member is None else self._begin(self._step.member)


class _Step(NamedTuple):
    """A stretch of the tar: known bytes, or the content of a member."""

    size: int
    expected: bytes | None
    member: Member | None = None


def _plan(members: Sequence[Member], end: bytes) -> Iterator[_Step]:
    for member in members:
        yield _Step(_BLOCK, header(member))
        yield _Step(member.size, None, member)  # may be empty
        padding = bytes(-member.size % _BLOCK)
        if padding:
            yield _Step(len(padding), padding)
    if end:
        yield _Step(len(end), end)
