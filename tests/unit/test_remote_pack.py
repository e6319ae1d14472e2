"""Packs: what is written can be read by anybody's tar, and nothing but what was signed is taken."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kache.core.digest import hash_bytes
from kache.errors import RemoteObjectError
from kache.remote import compression
from kache.remote.documents import Member
from kache.remote.pack import Packed, PackWriter, Unpacker, header, write_pack

BLOBS = (b"", b"x", b"one block" * 57, os.urandom(512), os.urandom(700_000), b"\0" * 3_000_000)


class Box:
    def __init__(self, directory: Path, contents: tuple[bytes, ...] = BLOBS) -> None:
        self.directory = directory
        self.members = tuple(Member(hash_bytes(content), len(content)) for content in contents)
        for member, content in zip(self.members, contents, strict=True):
            (directory / member.digest.hex()).write_bytes(content)
        self.arrived: dict[bytes, io.BytesIO] = {}
        path = directory / "pack"
        with path.open("wb") as file:
            self.packed = write_pack(file.fileno(), self.members, self.open)
        self.pack = path.read_bytes()

    def open(self, digest: bytes) -> int:
        return os.open(self.directory / digest.hex(), os.O_RDONLY)

    def begin(self, member: Member) -> io.BytesIO:
        return self.arrived.setdefault(member.digest, io.BytesIO())

    def take(self, pack: bytes, *, piece: int = 1 << 18, packed: Packed | None = None) -> None:
        unpacker = Unpacker(self.members, packed or Packed(hash_bytes(pack), len(pack)), self.begin)
        for start in range(0, len(pack), piece):
            unpacker.feed(pack[start : start + piece])
        unpacker.finish()


@pytest.fixture
def box(tmp_path: Path) -> Box:
    return Box(tmp_path)


def repacked(tar: bytes) -> bytes:
    return compression.compress(tar)


def tar_of(box: Box) -> bytes:
    return compression.decompress(box.pack, 1 << 26)


@pytest.mark.parametrize("piece", [1 << 20, 4096, 97])
def test_every_blob_arrives_whole(box: Box, piece: int) -> None:
    box.take(box.pack, piece=piece)
    assert [box.arrived[member.digest].getvalue() for member in box.members] == list(BLOBS)


def test_any_tar_reads_it(box: Box) -> None:
    with tarfile.open(fileobj=io.BytesIO(tar_of(box))) as archive:
        found = {item.name: archive.extractfile(item).read() for item in archive}  # type: ignore[union-attr]
    assert found == {member.digest.hex(): content for member, content in zip(box.members, BLOBS, strict=True)}


def test_a_blob_altered_on_this_disk_is_not_sent(box: Box) -> None:
    (box.directory / box.members[3].digest.hex()).write_bytes(os.urandom(512))
    with (box.directory / "second").open("wb") as file, pytest.raises(RemoteObjectError, match="not what it was"):
        write_pack(file.fileno(), box.members, box.open)


def test_another_pack_under_the_same_name_is_refused(box: Box) -> None:
    with pytest.raises(RemoteObjectError, match="cut short or altered"):
        box.take(box.pack, packed=Packed(hash_bytes(b"other"), len(box.pack)))


def test_what_goes_on_after_its_end_is_refused(box: Box) -> None:
    for more in (b"x", box.pack):
        with pytest.raises(RemoteObjectError):
            box.take(box.pack + more)


@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_pack_cut_short_is_refused(box: Box, kept: int) -> None:
    with pytest.raises(RemoteObjectError):
        box.take(box.pack[:kept])


def test_a_longer_pack_is_refused_before_it_is_unpacked(box: Box) -> None:
    unpacker = Unpacker(box.members, Packed(box.packed.digest, 10), box.begin)
    with pytest.raises(RemoteObjectError, match="longer"):
        unpacker.feed(box.pack)


def test_a_bomb_stops_at_the_signed_size(tmp_path: Path) -> None:
    box = Box(tmp_path, (b"small",))
    bomb = repacked(tar_of(box)[:512] + bytes(200_000_000))
    with pytest.raises(RemoteObjectError):
        box.take(bomb)
    assert sum(len(file.getvalue()) for file in box.arrived.values()) <= 5


def test_a_window_beyond_the_bound_is_refused(box: Box) -> None:
    # A frame header that asks for a window of 2 GiB (RFC 8878, 3.1.1.1.2), and no content size.
    with pytest.raises(RemoteObjectError):
        box.take(b"\x28\xb5\x2f\xfd" + bytes([0x00, (31 - 10) << 3]) + b"\x01\x00\x00")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda head: b"../../../../tmp/evil".ljust(100, b"\0") + head[100:],
        lambda head: b"/etc/passwd".ljust(100, b"\0") + head[100:],
        lambda head: head[:156] + b"2" + b"/etc".ljust(100, b"\0") + head[257:],  # a symlink
        lambda head: head[:156] + b"1" + b"other".ljust(100, b"\0") + head[257:],  # a hardlink
        lambda head: head[:100] + b"0004755\0" + head[108:],  # set-uid
        lambda head: head[:124] + b"77777777777\0" + head[136:],  # another size
        lambda head: head[:156] + b"L" + head[157:],  # a long name follows
        lambda head: bytes(512),
    ],
    ids=["dots", "absolute", "symlink", "hardlink", "set-uid", "size", "long name", "no header"],
)
def test_no_header_but_the_expected_one_is_taken(box: Box, wrong: object) -> None:
    tar = tar_of(box)
    assert callable(wrong)
    with pytest.raises(RemoteObjectError, match="does not hold what"):
        box.take(repacked(wrong(tar[:512]) + tar[512:]))


@given(at=st.integers(min_value=0), bit=st.integers(min_value=0, max_value=7))
@settings(max_examples=60, deadline=None)
def test_no_altered_bit_gets_through(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    box = Box(tmp_path_factory.mktemp("pack"), (b"first" * 300, b"second"))
    altered = bytearray(box.pack)
    altered[at % len(altered)] ^= 1 << bit
    with pytest.raises(RemoteObjectError):
        box.take(bytes(altered), packed=box.packed)


def test_the_header_is_what_tar_writes() -> None:
    member = Member(hash_bytes(b"golden"), 123_456)
    with tarfile.open(fileobj=io.BytesIO(header(member) + bytes(123_904)), mode="r:") as archive:
        item = archive.next()
    assert item is not None
    assert (item.name, item.size, item.mode, item.uid, item.mtime, item.isreg()) == (
        member.digest.hex(),
        123_456,
        0o644,
        0,
        0,
        True,
    )


class Several(Box):
    """A pack of three entries: all blobs, none, and one."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.groups = (self.members, (), self.members[2:3])
        path = directory / "several"
        with path.open("wb+") as file:
            writer = PackWriter(file.fileno(), self.open)
            self.parts = [writer.add(group) for group in self.groups]
            self.packed = writer.finish()
        self.pack = path.read_bytes()

    def take_part(self, number: int, data: bytes) -> None:
        part = self.parts[number]
        unpacker = Unpacker(self.groups[number], Packed(part.digest, part.size), self.begin, is_part=True)
        unpacker.feed(data)
        unpacker.finish()

    def part(self, number: int) -> bytes:
        part = self.parts[number]
        return self.pack[part.offset : part.offset + part.size]


def test_each_part_of_a_pack_can_be_read_alone(tmp_path: Path) -> None:
    box = Several(tmp_path)
    assert box.packed == Packed(hash_bytes(box.pack), len(box.pack))
    for number in (2, 1, 0):
        box.arrived.clear()
        box.take_part(number, box.part(number))
        assert set(box.arrived) == {member.digest for member in box.groups[number]}


def test_a_part_that_is_not_the_one_that_was_signed_is_refused(tmp_path: Path) -> None:
    box = Several(tmp_path)
    for data in (box.part(0)[:-1], box.part(0) + b"x", box.part(2), box.pack):
        with pytest.raises(RemoteObjectError):
            box.take_part(0, data)


def test_an_entry_that_cannot_be_read_leaves_the_others_of_its_pack(tmp_path: Path) -> None:
    box = Several(tmp_path)
    path = tmp_path / "second"
    with path.open("wb+") as file:
        writer = PackWriter(file.fileno(), box.open)
        first = writer.add(box.members[1:3])
        (tmp_path / box.members[3].digest.hex()).write_bytes(os.urandom(512))
        with pytest.raises(RemoteObjectError, match="not what it was"):
            writer.add(box.members[2:4])
        last = writer.add(box.members[4:5])
        packed = writer.finish()
    assert last.offset == first.offset + first.size
    assert packed == Packed(hash_bytes(path.read_bytes()), path.stat().st_size)


def test_any_tar_reads_a_pack_of_several(tmp_path: Path) -> None:
    box = Several(tmp_path)
    frames, tar = box.pack, b""
    while frames:
        unpacker = compression.decompressor()
        tar += unpacker.decompress(frames, 1 << 26)
        frames = unpacker.unused_data
    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        names = [item.name for item in archive]
    assert names == [member.digest.hex() for group in box.groups for member in group]
