"""Unit sets and packs of several entries: whoever can write to the bucket can take a warm start away, nothing else.

One machine builds once; every test alters a copy of what it sent.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kache.core.unit import Unit
from kache.remote import compression, unit_sets
from kache.remote.layout import Kind
from kache.remote.trust import SecretKey, Trusted
from kache.remote.unit_sets import UnitSetDocument, UnitSetName
from tests.support.machines import Machines, sets_sent
from tests.support.projects import chain
from tests.support.sandbox import Sandbox

_numbers = itertools.count()


@dataclass
class Sent:
    """What a machine sent: the shared directory, its key, its CARGO_HOME."""

    directory: Path
    secret: SecretKey
    cargo_home: Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sent]:
    """The bucket after one build of three crates, with its set."""
    directory = tmp_path_factory.mktemp("shared")
    made: list[Sandbox] = []

    def make(engine: str) -> Sandbox:
        made.append(Sandbox(Path(tempfile.mkdtemp(prefix="kache-box-")), engine))
        return made[-1]

    writer = Machines(make, f"file://{directory}").writer(KACHE_WARM_START="1")
    writer.checkout("a", chain()).build().expect(misses=3)
    sets_sent(writer)
    secret = SecretKey.parse((writer.home / ".config/kache/keys/signing.key").read_text())
    yield Sent(directory, secret, writer.cargo_home)
    writer.close()
    writer.remove()


class Bucket:
    """A copy of it, and a machine that trusts the sender."""

    def __init__(self, machines: Machines, whole: Sent) -> None:
        self.root = Path(machines.remote.removeprefix("file://"))
        shutil.copytree(whole.directory, self.root, dirs_exist_ok=True)
        self.secret = whole.secret
        self.reader = machines.make(KACHE_WARM_START="1", KACHE_PREFETCH="0")
        self.reader.cargo_home = whole.cargo_home
        self.reader.data("keys", "trust", whole.secret.public().text)

    def only(self, kind: str) -> Path:
        (found,) = (path for path in (self.root / "v1" / kind).rglob("*") if path.is_file())
        return found

    @property
    def name(self) -> UnitSetName:
        found = unit_sets.parse(self.only(Kind.UNITS).relative_to(self.root).as_posix())
        assert found is not None
        return found

    def document(self) -> UnitSetDocument:
        path, name = self.only(Kind.UNITS), self.name
        body = Trusted([self.secret.public()]).body(Kind.UNITS, name.subject, path.read_bytes())
        return msgspec.msgpack.decode(compression.decompress(body, 1 << 26), type=UnitSetDocument)

    def put(self, path: Path, content: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content)

    def signed(self, document: UnitSetDocument, name: UnitSetName, secret: SecretKey | None = None) -> None:
        """Put a set of ours in place of the one that is there, rightly signed for a name."""
        body = compression.compress(msgspec.msgpack.encode(document))
        self.put(self.root / name.text, (secret or self.secret).sign(Kind.UNITS, name.subject, body))

    def builds(self, *, seeded: int) -> str:
        """A build on the reader is right in any case; its log."""
        checkout = self.reader.checkout(f"b{next(_numbers)}", chain())
        built = checkout.build()
        assert len([call for call in built.calls.all if call.outcome == "seeded"]) == seeded, self.reader.log()
        assert checkout.program("app") == "42\n"
        checkout.fresh()
        checkout.same_bytes_as_plain()
        assert not list((self.reader.cache_dir / "store" / "tmp").iterdir())
        return self.reader.log()


@pytest.fixture
def bucket(machines: Machines, whole: Sent) -> Bucket:
    return Bucket(machines, whole)


def test_untouched_it_serves_all(bucket: Bucket) -> None:
    bucket.builds(seeded=3)


ALTERATIONS: dict[str, Callable[[bytes], bytes]] = {
    "bit": lambda data: data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1 :],
    "short": lambda data: data[:-1],
    "long": lambda data: data + b"x",
    "empty": lambda data: b"",
    "bomb": lambda data: compression.compress(bytes(1 << 26)),
}


@pytest.mark.parametrize("alter", ALTERATIONS)
def test_an_altered_set_is_refused_and_said(bucket: Bucket, alter: str) -> None:
    path = bucket.only(Kind.UNITS)
    bucket.put(path, ALTERATIONS[alter](path.read_bytes()))
    assert "a unit set of file://" in bucket.builds(seeded=0)
    assert bucket.reader.data("stats")["remote"]["gets"]["refused"] >= 1


def test_a_strangers_set_is_refused_and_the_next_one_taken(bucket: Bucket) -> None:
    """Guards against whoever floods the bucket: a newer name without a trusted signature hides nothing."""
    newer = bucket.name._replace(at_s=bucket.name.at_s + 1000)
    bucket.signed(bucket.document(), newer, SecretKey.generate())
    assert "is not trusted here" in bucket.builds(seeded=3)


def test_an_old_set_under_a_newer_name_is_refused(bucket: Bucket) -> None:
    """Replay: what was rightly signed once does not verify under another name."""
    path, name = bucket.only(Kind.UNITS), bucket.name
    newer = name._replace(at_s=name.at_s + 1000)
    bucket.put(bucket.root / newer.text, path.read_bytes())
    path.unlink()
    assert "signature is wrong" in bucket.builds(seeded=0)


def changed(document: UnitSetDocument, **more: Any) -> UnitSetDocument:
    return msgspec.structs.replace(document, **more)


def with_file(document: UnitSetDocument, **more: Any) -> UnitSetDocument:
    """The first unit's first output as something else."""
    first, *rest = document.units
    files = (msgspec.structs.replace(first.files[0], **more), *first.files[1:])
    return changed(document, units=(msgspec.structs.replace(first, files=files), *rest))


def shared_by(unit: Unit) -> str:
    """A file of a unit in the directory that all units share."""
    return next(file.path for file in unit.files if "/deps/" in file.path)


def with_entry(document: UnitSetDocument, **more: Any) -> UnitSetDocument:
    first, *rest = document.entries
    return changed(document, entries=(msgspec.structs.replace(first, **more), *rest))


STOLEN: dict[str, Callable[[UnitSetDocument], UnitSetDocument]] = {
    "another workspace's": lambda found: changed(found, workspace=b"w" * 32),
    "another compiler's": lambda found: changed(found, toolchain=b"t" * 32),
    "another profile's": lambda found: changed(found, profile="release"),
    "above the target": lambda found: with_file(found, path="../../../../kache-escaped"),
    "absolute": lambda found: with_file(found, path="/tmp/kache-escaped"),
    "another unit's output": lambda found: with_file(
        found, path=shared_by(found.units[1]), digest=b"", content=b"x" * 40, size=40
    ),
    "a file its entry has not": lambda found: with_file(found, digest=b"d" * 32),
    "an entry of other inputs": lambda found: with_entry(found, inputs=found.entries[-1].inputs),
    "no such part": lambda found: with_entry(found, pack_bytes=10),
    "no entries": lambda found: changed(found, entries=()),
}


@pytest.mark.parametrize("how", STOLEN)
def test_a_stolen_key_cannot_make_a_set_what_it_is_not(bucket: Bucket, how: str) -> None:
    bucket.signed(STOLEN[how](bucket.document()), bucket.name)
    assert "a unit set of file://" in bucket.builds(seeded=0)
    assert not Path("/tmp/kache-escaped").exists()
    assert not list(bucket.reader.root.rglob("*escaped*"))


def test_a_set_of_other_sources_places_nothing_of_them(bucket: Bucket) -> None:
    """Guards against replay within one name: units say what they were made of, and that is compared."""
    document = bucket.document()
    entries = tuple(manifest for manifest in document.entries if manifest.entry.crate_name != "leaf")
    units = tuple(unit for unit in document.units if "leaf" not in unit.directory)
    bucket.signed(changed(document, entries=entries, units=units), bucket.name)
    bucket.builds(seeded=0)


@pytest.mark.parametrize("alter", ["bit", "short", "empty"])
def test_a_pack_that_was_altered_gives_no_wrong_unit(bucket: Bucket, alter: str) -> None:
    path = bucket.only(Kind.PACKS)
    bucket.put(path, ALTERATIONS[alter](path.read_bytes()))
    checkout = bucket.reader.checkout("b", chain())
    built = checkout.build()
    assert [call for call in built.calls.all if call.outcome == "seeded"] == [] or alter != "empty"
    assert checkout.program("app") == "42\n"
    checkout.fresh()
    checkout.same_bytes_as_plain()
    assert not list((bucket.reader.cache_dir / "store" / "tmp").iterdir())
    if alter != "short":  # the end of the archive belongs to no entry
        assert "refused" in bucket.reader.log() or "shorter" in bucket.reader.log()


def test_nothing_of_a_set_is_taken_without_a_trusted_key(machines: Machines, whole: Sent) -> None:
    bucket = Bucket(machines, whole)
    bucket.reader.data("keys", "revoke", whole.secret.public().text)
    bucket.builds(seeded=0)
