"""Unit sets in a remote: what a new machine's target is filled with before cargo asks (docs/decisions/0016).

    name     = v1/units/ab/<scope>/<age>-<lock>-<intent>-<id>      age counts down, so the newest are first
    document = signed for kind `units` and all that its name says; body = zstd(msgpack(UnitSetDocument))

A set names the entries its units were made of, with everything their own manifests say: whoever has it needs no further
documents, only packs. Nothing is changed or overwritten; a newer set has another name.
"""

from __future__ import annotations

import asyncio
import re
from typing import NamedTuple

import msgspec

from kache.core.digest import Digest, hash_bytes, hash_parts
from kache.core.unit import Unit
from kache.errors import RemoteObjectError
from kache.remote import compression, documents
from kache.remote.backend import Backend
from kache.remote.documents import EntryManifest
from kache.remote.layout import VERSION, Kind
from kache.remote.trust import SecretKey, Trusted

MAX_SET_BYTES = 32 << 20
"""Of a document as it is kept; 500 units take some 1 MB."""
MAX_BODY_BYTES = 256 << 20
MAX_UNITS = 20_000
MAX_FILES = 100_000
MAX_LISTED = 1000
"""Names looked at; a bucket gives the newest first."""
_LAST_S = 9_999_999_999
_MARK_BYTES = 8
_NAME = re.compile(r"([0-9]{10})-([0-9a-f]{16})-(build|test|check)(_all)?-([0-9a-f]{16})")


class UnitSetName(NamedTuple):
    """What a name says.

    Attributes:
        scope: see `scope_of`.
        at_s: when it was sent, s since the Unix epoch, by the writer's clock.
        lock: first 8 bytes of the digest of the lock file.
        intent: kind of the build that left it, see `kache.cargo.intent`.
        mark: first 8 bytes of the digest of its body.
    """

    scope: Digest
    at_s: int
    lock: bytes
    intent: str
    mark: bytes

    @property
    def last(self) -> str:
        """The last part of the name."""
        age = _LAST_S - min(max(self.at_s, 0), _LAST_S)
        return f"{age:010}-{self.lock.hex()}-{self.intent.replace('+', '_all')}-{self.mark.hex()}"

    @property
    def text(self) -> str:
        """The whole name."""
        return directory_of(self.scope) + self.last

    @property
    def subject(self) -> Digest:
        """What its signature is for: all that the name says."""
        return hash_parts([b"unit set", self.scope, self.last.encode()])


class UnitSetDocument(msgspec.Struct, frozen=True, array_like=True):
    """What builds of a workspace left in a profile directory, as other machines may have it.

    Attributes:
        workspace, profile, toolchain: as in `core.unit.UnitSet`.
        lock: digest of the lock file; empty without one.
        intent: kind of the build that left it.
        units: what they depend on first; paths, hosts and homes salted.
        entries: whose blobs the units are made of, in the order in which they are needed.
        created_s: by the writer's clock.
        writer: version of the kache that wrote it.
    """

    workspace: Digest
    profile: str
    toolchain: Digest
    lock: Digest
    intent: str
    units: tuple[Unit, ...]
    entries: tuple[EntryManifest, ...]
    created_s: int
    writer: str


def scope_of(domain: str, workspace: Digest, toolchain: Digest, profile: str) -> Digest:
    """Where the sets of a workspace's profile directory are, for one compiler."""
    return hash_parts([b"units", domain.encode(), workspace, toolchain, profile.encode()])


def directory_of(scope: Digest) -> str:
    """What all names of a scope start with."""
    name = scope.hex()
    return f"{VERSION}/{Kind.UNITS}/{name[:2]}/{name}/"


def parse(name: str) -> UnitSetName | None:
    """Read a name back; None if it is none of ours."""
    parts = name.split("/")
    if len(parts) != 5 or parts[:2] != [VERSION, Kind.UNITS] or len(parts[3]) != 64 or parts[3][:2] != parts[2]:
        return None
    found = _NAME.fullmatch(parts[4])
    if found is None or parts[3].strip("0123456789abcdef"):
        return None
    intent = found[3] + ("+" if found[4] else "")
    at_s = _LAST_S - int(found[1])
    return UnitSetName(bytes.fromhex(parts[3]), at_s, bytes.fromhex(found[2]), intent, bytes.fromhex(found[5]))


def lock_mark(lock: Digest) -> bytes:
    """What names say of a lock file."""
    return lock[:_MARK_BYTES].ljust(_MARK_BYTES, b"\0")


async def publish(
    backend: Backend, secret: SecretKey, domain: str, document: UnitSetDocument
) -> tuple[UnitSetName, bool]:
    """Send a set whose packs are there.

    Returns:
        Its name, and whether it was not there.

    Raises:
        RemoteObjectError: it is beyond a bound: readers would refuse it.
        RemoteError: the remote cannot be asked.
    """
    body = compression.compress(msgspec.msgpack.encode(document))
    if len(body) > MAX_SET_BYTES - 1024 or len(document.units) > MAX_UNITS:
        raise RemoteObjectError(f"a unit set of {len(body)} bytes is too large to be sent")
    scope = scope_of(domain, document.workspace, document.toolchain, document.profile)
    mark = hash_bytes(body)[:_MARK_BYTES]
    name = UnitSetName(scope, document.created_s, lock_mark(document.lock), document.intent, mark)
    return name, await backend.create(name.text, secret.sign(Kind.UNITS, name.subject, body))


async def names(backend: Backend, scope: Digest) -> list[UnitSetName]:
    """Names of the sets of a scope, the newest first.

    Raises:
        RemoteError: the remote cannot be asked, or does not answer in time.
    """
    found = []
    async with asyncio.timeout(backend.patience.total_s):
        async for item in backend.list(directory_of(scope)):
            name = parse(item.name)
            if name is not None and name.scope == scope:
                found.append(name)
                if len(found) >= MAX_LISTED:
                    break
    return sorted(found, key=lambda name: -name.at_s)


async def fetch(backend: Backend, trusted: Trusted, name: UnitSetName) -> UnitSetDocument | None:
    """A set; None if there is none.

    Raises:
        RemoteObjectError: it cannot be trusted or read, or is another one's.
        RemoteError: the remote cannot be asked.
    """
    document = await backend.get(name.text, MAX_SET_BYTES)
    return None if document is None else await asyncio.to_thread(_read, trusted, name, document)


def _read(trusted: Trusted, name: UnitSetName, document: bytes) -> UnitSetDocument:
    body = trusted.body(Kind.UNITS, name.subject, document)
    try:
        found = msgspec.msgpack.decode(compression.decompress(body, MAX_BODY_BYTES), type=UnitSetDocument)
    except (msgspec.MsgspecError, ValueError) as error:
        raise RemoteObjectError("a unit set cannot be read", why=str(error)) from error
    if len(found.units) > MAX_UNITS or len(found.entries) > MAX_UNITS:
        raise RemoteObjectError("a unit set has too many units")
    if sum(len(unit.files) for unit in found.units) > MAX_FILES:
        raise RemoteObjectError("a unit set has too many files")
    if (lock_mark(found.lock), found.intent) != (name.lock, name.intent):
        raise RemoteObjectError("a unit set is another one's")
    for manifest in found.entries:
        documents.demand_possible(manifest)
    return found
