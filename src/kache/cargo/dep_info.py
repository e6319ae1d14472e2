"""cargo's own list of what a unit reads, `dep-<stem>` in its fingerprint directory.

    file = magic(01 00 00 00 ff) version(u8) files env        Seen with cargo 1.95.
    files = count { kind(u8) path has_checksum(u8) [length(u64) checksum] }
    env = count { name is_set(u8) [value] }

Counts and lengths are u32, little-endian. Source: cargo `core/compiler/fingerprint/dep_info.rs`, `EncodedDepInfo`.
"""

from __future__ import annotations

_MAGIC = b"\x01\0\0\0\xff"
_VERSION = 1


def values_of_variables(content: bytes) -> list[bytes] | None:
    """The values of the variables a unit read, those that were set; None if this is not such a list.

    Lists of older cargos, which begin with their count of files, are read as well: they have no checksums.
    """
    reader = _Reader(content)
    try:
        has_checksums = content.startswith(_MAGIC)
        if has_checksums:
            reader.take(len(_MAGIC))
            if reader.byte() != _VERSION:
                return None
        for _ in range(reader.number()):
            reader.byte()
            reader.text()
            if has_checksums and reader.byte():
                reader.take(8)
                reader.text()
        values = []
        for _ in range(reader.number()):
            reader.text()
            if reader.byte():
                values.append(reader.text())
    except IndexError:
        return None
    return values if reader.is_at_end else None


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        return self._at == len(self._content)

    def take(self, size: int) -> bytes:
        found = self._content[self._at : self._at + size]
        if len(found) != size:
            raise IndexError(size)
        self._at += size
        return found

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def text(self) -> bytes:
        return self.take(self.number())
