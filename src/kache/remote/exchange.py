"""What readers and writers say to a remote: which objects, in which order, checked how (docs/decisions/0010)."""

from __future__ import annotations

import contextlib
import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from kache.core.digest import Digest
from kache.errors import RemoteObjectError, RemoteUnreachableError
from kache.remote import documents, layout
from kache.remote.backend import Backend
from kache.remote.documents import MAX_DOCUMENT_BYTES, BuildManifest, EntryManifest, PathSet
from kache.remote.layout import MAX_SLOTS, BuildName, Kind
from kache.remote.trust import SecretKey, Trusted

_MAX_LISTED = 5_000


class Published(enum.StrEnum):
    """What became of an entry that was to be sent."""

    STORED = "stored"
    PRESENT = "present"
    """The same was there."""
    DIFFERS = "differs"
    """Another result was there under the same key; it stays as it is."""


@dataclass(frozen=True, slots=True)
class Publication:
    """An entry ready to be sent.

    Attributes:
        subject: see `layout.entry_subject`.
        place: see `layout.locator`.
        manifest: of the entry; its pack has been sent.
        paths: what it read; None where no compile asks for it.
    """

    subject: Digest
    place: Digest
    manifest: EntryManifest
    paths: PathSet | None


async def path_sets(backend: Backend, trusted: Trusted, place: Digest) -> AsyncIterator[PathSet | RemoteObjectError]:
    """The path sets of a locator, one GET each, until a slot is empty; an error for one that cannot be trusted or read.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    for slot in range(MAX_SLOTS):
        document = await backend.get(layout.memo_name(place, slot), MAX_DOCUMENT_BYTES)
        if document is None:
            return
        try:
            yield _paths_in(trusted, place, document)
        except RemoteObjectError as error:
            yield error


async def manifest(backend: Backend, trusted: Trusted, subject: Digest) -> EntryManifest | None:
    """The manifest of an entry; None if there is none.

    Raises:
        RemoteObjectError: it cannot be trusted or read.
        RemoteError: the remote cannot be asked.
    """
    document = await backend.get(layout.entry_name(subject), MAX_DOCUMENT_BYTES)
    return None if document is None else documents.decode_manifest(trusted.body(Kind.ENTRIES, subject, document))


async def publish_pack(backend: Backend, digest: Digest, pack: Path | bytes) -> None:
    """Send a pack: a file, or its content. One that is there already stays; it is the same.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    await backend.create(layout.pack_name(digest), pack)


async def publish(
    backend: Backend, secret: SecretKey, trusted: Trusted, what: Publication
) -> tuple[Published, EntryManifest]:
    """Send an entry whose pack is there: the manifest, then the memo. Whatever is there already stays.

    Returns:
        What became of it, and the manifest that is there now.

    Raises:
        RemoteObjectError: something that cannot be trusted or read has that name.
        RemoteError: the remote cannot be asked.
    """
    document = secret.sign(Kind.ENTRIES, what.subject, documents.encode(what.manifest))
    outcome, kept = Published.STORED, what.manifest
    if not await backend.create(layout.entry_name(what.subject), document):
        there = await manifest(backend, trusted, what.subject)
        if there is None:
            raise RemoteUnreachableError("a manifest is there and is not", why="it was removed this moment")
        same = there.entry.artifacts == what.manifest.entry.artifacts
        outcome, kept = Published.PRESENT if same else Published.DIFFERS, there
    if what.paths is not None:
        await _publish_memo(backend, secret, trusted, what.place, what.paths)
    return outcome, kept


async def publish_build(backend: Backend, secret: SecretKey, name: BuildName, manifest: BuildManifest) -> Published:
    """Send a build manifest; one of the same name stays.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    document = secret.sign(Kind.BUILDS, layout.build_subject(name), documents.encode(manifest))
    created = await backend.create(layout.build_name(name), document)
    return Published.STORED if created else Published.PRESENT


async def newest_builds(backend: Backend, scope: Digest, limit: int) -> list[BuildName]:
    """Names of the last builds of a scope, the newest first.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    found = []
    async for item in backend.list(layout.builds_of(scope)):
        name = layout.parse_build(item.name)
        if name is not None and name.scope == scope:
            found.append(name)
            if len(found) >= _MAX_LISTED:  # a bucket lists them in order; a directory in any
                break
    return sorted(found, key=lambda name: -name.at_s)[:limit]


async def build(backend: Backend, trusted: Trusted, name: BuildName) -> BuildManifest | None:
    """A build manifest; None if there is none.

    Raises:
        RemoteObjectError: it cannot be trusted or read, or is another build's.
        RemoteError: the remote cannot be asked.
    """
    document = await backend.get(layout.build_name(name), MAX_DOCUMENT_BYTES)
    if document is None:
        return None
    found = documents.decode_build(trusted.body(Kind.BUILDS, layout.build_subject(name), document))
    if (found.record.id, found.record.at_s) != (name.record, name.at_s):
        raise RemoteObjectError("a build manifest is another build's")
    return found


async def _publish_memo(backend: Backend, secret: SecretKey, trusted: Trusted, place: Digest, paths: PathSet) -> None:
    """Into the first free slot, unless one holds the same. When all are taken, this path set is not found by others."""
    document = secret.sign(Kind.MEMOS, place, documents.encode(paths))
    for slot in range(MAX_SLOTS):
        name = layout.memo_name(place, slot)
        if await backend.create(name, document):
            return
        there = await backend.get(name, MAX_DOCUMENT_BYTES)
        # One that cannot be trusted is somebody else's: the next slot may be free.
        with contextlib.suppress(RemoteObjectError):
            if there is not None and _paths_in(trusted, place, there) == paths:
                return


def _paths_in(trusted: Trusted, place: Digest, document: bytes) -> PathSet:
    return documents.decode_path_set(trusted.body(Kind.MEMOS, place, document))
