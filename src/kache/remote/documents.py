"""The bodies of signed documents: path sets, entry manifests and build manifests. Pure.

    body = zstd(msgpack(PathSet, EntryManifest or BuildManifest))

Structs encode as arrays: fields may be appended with a default, never moved or removed. Everything is bounded and
checked when it is read, although it is signed: a trusted writer may have been taken over.
"""

from __future__ import annotations

import re
from typing import TypeVar

import msgspec

from kache.core.digest import Digest
from kache.core.entry import Entry, InputKind, MemoInput
from kache.core.usage import BuildRecord
from kache.errors import RemoteObjectError
from kache.remote import compression

MAX_DOCUMENT_BYTES = 4 << 20
"""Of a document as it is kept."""
MAX_BODY_BYTES = 16 << 20
"""Of a body unpacked: 50,000 inputs of 100 bytes, or messages of a very talkative compile."""
MAX_INPUTS = 50_000
MAX_ARTIFACTS = 64
MAX_PACK_BYTES = 4 << 30
MAX_BLOB_BYTES = 8 << 30
"""Size limit of a member of a ustar archive."""
MAX_NAME_BYTES = 255
MAX_UNITS = 50_000
MAX_MS = 1 << 40
_DIGEST_BYTES = 32
_ENV_VALUE = re.compile(rb"^(# env-dep:[^=\n]*)=.*$", re.MULTILINE)

T = TypeVar("T")


class PathSet(msgspec.Struct, frozen=True, array_like=True):
    """Which inputs a compile read: an input memo without its values.

    Attributes:
        inputs: kind, normalised path or name, and of a variable in which form its value counts (its memo's first byte).
    """

    inputs: tuple[tuple[InputKind, bytes, bytes], ...]


class Member(msgspec.Struct, frozen=True, array_like=True):
    """One blob of a pack, in the pack's order."""

    digest: Digest
    size: int


class Part(msgspec.Struct, frozen=True, array_like=True):
    """The stretch of a pack of several entries that holds the blobs of one: a whole zstd frame.

    Attributes:
        offset: of its first byte.
        size: in bytes, compressed.
        digest: of these bytes.
    """

    offset: int
    size: int
    digest: Digest


class EntryManifest(msgspec.Struct, frozen=True, array_like=True):
    """An entry, and where its blobs are.

    Attributes:
        entry: without the values of variables in its dep-info.
        inputs: what its compile read, as in its memo; of variables the salted digests.
        members: the blobs of the pack, or of its part, each once.
        pack: digest of the pack as it is kept.
        pack_bytes: its size.
        created_s: by the writer's clock, s since the Unix epoch; for people and gc.
        writer: version of the kache that wrote it.
        part: where in the pack; None if the pack holds this entry alone.
    """

    entry: Entry
    inputs: tuple[MemoInput, ...]
    members: tuple[Member, ...]
    pack: Digest
    pack_bytes: int
    created_s: int
    writer: str
    part: Part | None = None

    @property
    def wire_bytes(self) -> int:
        """What has to be read of the pack."""
        return self.pack_bytes if self.part is None else self.part.size


class Whereabouts(msgspec.Struct, frozen=True, array_like=True):
    """Where a remote has the blobs of an entry; the fields are `EntryManifest`'s."""

    pack: Digest
    pack_bytes: int
    part: Part | None = None


def whereabouts(manifest: EntryManifest) -> bytes:
    """Those of a manifest, as they are kept beside the queue."""
    return msgspec.msgpack.encode(Whereabouts(manifest.pack, manifest.pack_bytes, manifest.part))


class BuildManifest(msgspec.Struct, frozen=True, array_like=True):
    """Which entries a build used, in which order: what prefetches plan with, and what gc keeps.

    Attributes:
        record: of the build; without a score.
        created_s: when it was sent, by the writer's clock, s since the Unix epoch.
        writer: version of the kache that wrote it.
    """

    record: BuildRecord
    created_s: int
    writer: str


def path_set(inputs: tuple[MemoInput, ...]) -> PathSet:
    """What of a memo is sent."""
    forms = (
        (item.kind, item.name, item.value[:1] if item.kind in (InputKind.ENV, InputKind.READ) else b"")
        for item in inputs
    )
    return PathSet(tuple(forms))


def blanked(entry: Entry) -> Entry:
    """What of an entry is sent: no values of variables, a hit writes those of its own call."""
    return msgspec.structs.replace(entry, dep_info=_ENV_VALUE.sub(rb"\1=", entry.dep_info))


def encode(document: PathSet | EntryManifest | BuildManifest) -> bytes:
    """A body."""
    return compression.compress(msgspec.msgpack.encode(document))


def decode_path_set(body: bytes) -> PathSet:
    """Read a path set.

    Raises:
        RemoteObjectError: it is not one, or beyond a bound.
    """
    found = _decode(body, PathSet)
    if len(found.inputs) > MAX_INPUTS:
        raise RemoteObjectError("a memo names too many inputs")
    return found


def decode_manifest(body: bytes) -> EntryManifest:
    """Read an entry manifest.

    Raises:
        RemoteObjectError: it is not one, names something outside the unit's directory, or is beyond a bound.
    """
    found = _decode(body, EntryManifest)
    demand_possible(found)
    return found


def demand_possible(found: EntryManifest) -> None:
    """Check the bounds of a manifest.

    Raises:
        RemoteObjectError: it names something outside the unit's directory, or is beyond a bound.
    """
    artifacts, members = found.entry.artifacts, found.members
    if len(artifacts) > MAX_ARTIFACTS or len(members) > MAX_ARTIFACTS or len(found.inputs) > MAX_INPUTS:
        raise RemoteObjectError("a manifest names too many files")
    if not 0 < found.pack_bytes <= MAX_PACK_BYTES or len(found.pack) != _DIGEST_BYTES:
        raise RemoteObjectError("a manifest's pack has no possible size or digest")
    part = found.part
    is_inside = part is None or (part.offset >= 0 and 0 < part.size <= found.pack_bytes - part.offset)
    if not is_inside or (part is not None and len(part.digest) != _DIGEST_BYTES):
        raise RemoteObjectError("a manifest's part of a pack has no possible place or digest")
    sizes = {member.digest: member.size for member in members}
    if len(sizes) != len(members):
        raise RemoteObjectError("a manifest has a blob twice")
    for digest, size in sizes.items():
        if len(digest) != _DIGEST_BYTES or not 0 <= size < MAX_BLOB_BYTES:
            raise RemoteObjectError("a manifest's blob has no possible size or digest")
    for artifact in artifacts:
        _demand_plain_name(artifact.name)
        if sizes.get(artifact.digest) != artifact.size:
            raise RemoteObjectError("a manifest's artifact is not in its pack")
    if found.entry.dep_info_name:
        _demand_plain_name(found.entry.dep_info_name)
    if len({artifact.name for artifact in artifacts} | {found.entry.dep_info_name}) != len(artifacts) + 1:
        raise RemoteObjectError("a manifest names a file twice")


def decode_build(body: bytes) -> BuildManifest:
    """Read a build manifest.

    Raises:
        RemoteObjectError: it is not one, or beyond a bound.
    """
    found = _decode(body, BuildManifest)
    demand_sane(found.record)
    return found


def demand_sane(record: BuildRecord) -> None:
    """What a record says must be possible.

    Raises:
        RemoteObjectError: it is not.
    """
    count = len(record.units)
    if count > MAX_UNITS or len(record.id) != _DIGEST_BYTES or len(record.intent.workspace) != _DIGEST_BYTES:
        raise RemoteObjectError("a build manifest names too many units, or has no possible id")
    for unit in record.units:
        if (
            len(unit.key) != _DIGEST_BYTES
            or not 0 <= unit.size_bytes < MAX_BLOB_BYTES
            or not 0 <= unit.compile_ms < MAX_MS
            or not 0 <= unit.need_ms < MAX_MS
            or any(not 0 <= at < count for at in unit.waits)
        ):
            raise RemoteObjectError("a unit of a build manifest has no possible key, size, time or dependency")


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(compression.decompress(body, MAX_BODY_BYTES), type=kind)
    except (msgspec.MsgspecError, ValueError) as error:
        raise RemoteObjectError("a document cannot be read", why=str(error)) from error


def _demand_plain_name(name: str) -> None:
    """A file name and nothing else: it is joined to the unit's directory."""
    try:
        length = len(name.encode("utf-8", "surrogateescape"))
    except UnicodeEncodeError:
        length = 0
    if not 0 < length <= MAX_NAME_BYTES or "/" in name or "\0" in name or name in (".", ".."):
        raise RemoteObjectError(f"a manifest names a file {name!r}")
