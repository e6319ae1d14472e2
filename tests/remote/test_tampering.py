"""Whoever can write to the bucket can take hits away, and nothing else."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from kache.core.digest import hash_bytes
from kache.remote import compression, documents, layout
from kache.remote.layout import Kind
from kache.remote.trust import MAGIC, SecretKey, Trusted
from tests.support import processes
from tests.support.machines import Machines, public_key, pushed
from tests.support.projects import lib
from tests.support.sandbox import Sandbox

SOURCE = "pub fn answer() -> u32 { 42 }\n"


class Bucket:
    """A shared directory that one crate was sent to, and a machine that trusts the sender."""

    def __init__(self, machines: Machines) -> None:
        self.root = Path(machines.remote.removeprefix("file://"))
        self.machines = machines
        self.writer, self.reader = machines.pair()
        self.writer.checkout("a", lib(SOURCE)).build().expect(misses=1)
        pushed(self.writer)
        secret = (self.writer.home / ".config/kache/keys/signing.key").read_text()
        self.secret = SecretKey.parse(secret)
        self._names = itertools.count()

    def only(self, kind: str) -> Path:
        found = [path for path in (self.root / "v1" / kind).rglob("*") if path.is_file()]
        assert len(found) == 1, found
        return found[0]

    def name(self, path: Path) -> layout.ObjectName:
        found = layout.parse(path.relative_to(self.root).as_posix())
        assert found is not None
        return found

    def body(self, kind: str) -> bytes:
        path = self.only(kind)
        return Trusted([self.secret.public()]).body(kind, self.name(path).digest, path.read_bytes())

    def replace(self, path: Path, content: bytes) -> None:
        path.chmod(0o644)
        path.write_bytes(content)

    def reads(self, box: Sandbox | None = None, **expected: int) -> Sandbox:
        """A build on a machine that asks the bucket: it is always right, served or not."""
        box = box or self.reader
        checkout = box.checkout(f"b{next(self._names)}", lib(SOURCE))
        checkout.build().expect(**expected)
        checkout.same_bytes_as_plain()
        assert not list((box.cache_dir / "store" / "tmp").iterdir())
        return box


@pytest.fixture
def bucket(machines: Machines) -> Bucket:
    return Bucket(machines)


def test_untouched_it_is_served(bucket: Bucket) -> None:
    bucket.reads(hits=1, misses=0)


def test_nothing_is_taken_without_a_trusted_key(bucket: Bucket) -> None:
    stranger = bucket.reads(bucket.machines.make(), misses=1, hits=0)
    assert "no key is trusted" in stranger.log()


def test_what_a_foreign_key_signed_is_refused_and_said(bucket: Bucket) -> None:
    other = bucket.machines.writer()
    box = bucket.reads(other, misses=1, hits=0)
    assert "is not trusted here" in box.log()
    processes.until(lambda: box.data("stats")["remote"]["gets"]["refused"] == 1, limit_s=30, what="it was counted")


def test_a_revoked_key_is_trusted_no_longer(bucket: Bucket) -> None:
    bucket.reader.data("keys", "revoke", public_key(bucket.writer))
    bucket.reads(misses=1, hits=0)


@pytest.mark.parametrize("kind", [Kind.MEMOS, Kind.ENTRIES, Kind.PACKS])
@pytest.mark.parametrize(
    "alter",
    [
        lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
        lambda data: data[:-1],
        lambda data: data + b"x",
        lambda data: b"",
        lambda data: os.urandom(len(data)),
        lambda data: compression.compress(bytes(1 << 26)),
    ],
    ids=["bit", "short", "long", "empty", "noise", "bomb"],
)
def test_altered_objects_are_misses(bucket: Bucket, kind: str, alter: Callable[[bytes], bytes]) -> None:
    path = bucket.only(kind)
    bucket.replace(path, alter(path.read_bytes()))
    box = bucket.reads(misses=1, hits=0)
    # What went over the wire is counted when the call is over already.
    processes.until(lambda: box.data("stats")["remote"]["gets"]["refused"] == 1, limit_s=30, what="it was counted")
    verified = bucket.writer.data("remote", "verify", "--packs", exit_code=0 if kind == Kind.MEMOS else 1)
    assert verified["refused"] == (kind != Kind.MEMOS)


def test_an_unsigned_manifest_is_refused(bucket: Bucket) -> None:
    bucket.replace(bucket.only(Kind.ENTRIES), bucket.body(Kind.ENTRIES))
    bucket.reads(misses=1, hits=0)


def test_a_manifest_signed_for_another_kind_is_refused(bucket: Bucket) -> None:
    path = bucket.only(Kind.ENTRIES)
    moved = bucket.secret.sign(Kind.MEMOS, bucket.name(path).digest, bucket.body(Kind.ENTRIES))
    bucket.replace(path, moved)
    bucket.reads(misses=1, hits=0)


def test_an_old_entry_under_a_new_key_is_refused(bucket: Bucket) -> None:
    """Replay: the vulnerable version of a crate, rightly signed once, under the name of the fixed one."""
    old = bucket.only(Kind.ENTRIES)
    fixed = "pub fn answer() -> u32 { 43 }\n"
    bucket.writer.checkout("fixed", lib(fixed)).build().expect(misses=1)
    pushed(bucket.writer)
    (new,) = [path for path in (bucket.root / "v1" / Kind.ENTRIES).rglob("*") if path.is_file() and path != old]
    bucket.replace(new, old.read_bytes())
    checkout = bucket.reader.checkout("c", lib(fixed))
    checkout.build().expect(misses=1, hits=0)
    checkout.same_bytes_as_plain()


def test_a_trusted_writer_cannot_put_one_entry_under_anothers_key(bucket: Bucket) -> None:
    """A key that was stolen still cannot make an entry fit inputs that it does not have."""
    path = bucket.only(Kind.ENTRIES)
    fixed = "pub fn answer() -> u32 { 43 }\n"
    bucket.writer.checkout("fixed", lib(fixed)).build()
    pushed(bucket.writer)
    (new,) = [other for other in (bucket.root / "v1" / Kind.ENTRIES).rglob("*") if other.is_file() and other != path]
    body = Trusted([bucket.secret.public()]).body(Kind.ENTRIES, bucket.name(path).digest, path.read_bytes())
    bucket.replace(new, bucket.secret.sign(Kind.ENTRIES, bucket.name(new).digest, body))
    bucket.reader.checkout("c", lib(fixed)).build().expect(misses=1, hits=0)
    assert "is another one's" in bucket.reader.log()


@pytest.mark.parametrize("name", ["../../../../escaped", "/tmp/kache-escaped", "libother-0123.rlib", ".."])
def test_names_from_a_trusted_writer_stay_in_their_unit(bucket: Bucket, name: str) -> None:
    import msgspec

    path = bucket.only(Kind.ENTRIES)
    manifest = documents.decode_manifest(bucket.body(Kind.ENTRIES))
    artifacts = (msgspec.structs.replace(manifest.entry.artifacts[0], name=name), *manifest.entry.artifacts[1:])
    evil = msgspec.structs.replace(manifest, entry=msgspec.structs.replace(manifest.entry, artifacts=artifacts))
    signed = bucket.secret.sign(Kind.ENTRIES, bucket.name(path).digest, documents.encode(evil))
    bucket.replace(path, signed)
    bucket.reads(misses=1, hits=0)
    assert not Path("/tmp/kache-escaped").exists()
    assert not list(bucket.reader.root.rglob("*escaped*"))


def test_a_swapped_signature_is_refused(bucket: Bucket) -> None:
    import msgspec

    path = bucket.only(Kind.ENTRIES)
    key_id, _, body = msgspec.msgpack.decode(path.read_bytes()[len(MAGIC) :])
    other = SecretKey.generate().sign(Kind.ENTRIES, bucket.name(path).digest, body)
    _, signature, _ = msgspec.msgpack.decode(other[len(MAGIC) :])
    bucket.replace(path, MAGIC + msgspec.msgpack.encode((key_id, signature, body)))
    bucket.reads(misses=1, hits=0)


def test_another_writers_memo_in_the_first_slot_does_not_hide_ours(bucket: Bucket) -> None:
    path = bucket.only(Kind.MEMOS)
    ours = path.read_bytes()
    foreign = SecretKey.generate().sign(Kind.MEMOS, bucket.name(path).digest, bucket.body(Kind.MEMOS))
    bucket.replace(path, foreign)
    path.with_name("1").write_bytes(ours)
    bucket.reads(hits=1, misses=0)


def test_a_pack_of_other_content_with_its_own_right_digest_is_refused(bucket: Bucket) -> None:
    path = bucket.only(Kind.PACKS)
    bucket.replace(path, compression.compress(b"\0" * 4096))
    assert hash_bytes(path.read_bytes()) != bucket.name(path).digest
    bucket.reads(misses=1, hits=0)
