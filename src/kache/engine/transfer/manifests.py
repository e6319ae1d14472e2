"""Build manifests: what builds used, kept in the remote for the plans of other machines."""

from __future__ import annotations

import asyncio
import logging
import time

from msgspec.structs import replace

from kache import __version__
from kache.core.digest import Digest
from kache.core.usage import BuildRecord
from kache.engine.transfer.remotes import Remote
from kache.errors import RemoteError, RemoteObjectError
from kache.remote import exchange, layout
from kache.remote.documents import BuildManifest
from kache.remote.exchange import Published
from kache.remote.trust import SecretKey

log = logging.getLogger("kache")
NEWEST = 24
"""Manifests read for one plan."""
_KEPT = 96


async def send(remote: Remote, secret: SecretKey, record: BuildRecord, namespace: str = "") -> Published:
    """Send the record of a build.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    scope = layout.build_scope(remote.domain, record.intent.workspace, namespace)
    manifest = BuildManifest(replace(record, score=None), int(time.time()), __version__)
    name = layout.BuildName(scope, record.at_s, record.id)
    return await exchange.publish_build(remote.bulk, secret, name, manifest)


async def newest(
    remote: Remote,
    workspace: Digest,
    namespace: str = "",
    limit: int = NEWEST,
    known: dict[Digest, BuildRecord] | None = None,
) -> list[BuildRecord]:
    """Records of a workspace's last builds, the newest first; what cannot be trusted or read is left out, and said.

    Args:
        remote: which.
        workspace: its identity.
        namespace: where they were put.
        limit: how many.
        known: those fetched before, by the digest of their names; they are not fetched again, and new ones added.

    Raises:
        RemoteError: the remote cannot be asked.
    """
    scope = layout.build_scope(remote.domain, workspace, namespace)
    names = await exchange.newest_builds(remote.bulk, scope, limit)
    kept = {} if known is None else known

    async def one(name: layout.BuildName) -> BuildRecord | None:
        subject = layout.build_subject(name)
        if subject not in kept:
            found = await _one(remote, name)
            if found is None:
                return None
            kept[subject] = found
            while len(kept) > _KEPT:
                kept.pop(next(iter(kept)))
            return found
        return kept[subject]

    found = await asyncio.gather(*(one(name) for name in names))
    return [record for record in found if record is not None]


async def _one(remote: Remote, name: layout.BuildName) -> BuildRecord | None:
    try:
        manifest = await exchange.build(remote.bulk, remote.trusted, name)
    except RemoteObjectError as error:
        log.warning("a build manifest of %s is left out: %s", remote.place, error.line)
        return None
    except RemoteError as error:
        log.info("a build manifest of %s cannot be had: %s", remote.place, error.line)
        return None
    return None if manifest is None else manifest.record
