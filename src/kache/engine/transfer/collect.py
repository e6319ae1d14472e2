"""What a remote can do without: old entries, entries beyond a size, packs that no manifest names."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from kache.core.digest import Digest
from kache.engine.transfer.remotes import Remote
from kache.errors import RemoteObjectError
from kache.remote import exchange, layout
from kache.remote.backend import Found
from kache.remote.layout import Kind

GRACE_S = 24 * 3600.0
"""A pack is put before its manifest: a young one without a name may be about to get it."""
_BATCH = 500


@dataclass(slots=True)
class Collected:
    """What went, or would go.

    Attributes:
        entries, packs, memos: objects removed.
        freed_bytes: theirs.
        kept_entries, kept_bytes: what stays.
    """

    entries: int = 0
    packs: int = 0
    memos: int = 0
    freed_bytes: int = 0
    kept_entries: int = 0
    kept_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(slots=True)
class _Entry:
    subject: Digest
    found: Found
    pack: Digest | None
    bytes: int


async def collect(
    remote: Remote,
    *,
    max_age_s: float | None,
    max_bytes: int | None,
    grace_s: float = GRACE_S,
    dry_run: bool = False,
) -> Collected:
    """Remove entries by age, then the oldest beyond a size, then packs that no manifest names, then memos by age.

    Manifests go before their packs, so a reader at worst finds no entry. A manifest that cannot be read here goes by
    age alone, and while one stays no pack is taken for unnamed: it may name it.
    """
    now = time.time()
    entries = sorted([entry async for entry in _entries(remote)], key=lambda entry: entry.found.modified_s)
    gone = [entry for entry in entries if max_age_s is not None and now - entry.found.modified_s > max_age_s]
    kept = entries[len(gone) :]
    size = sum(entry.bytes for entry in kept)
    while max_bytes is not None and kept and size > max_bytes:
        gone.append(kept.pop(0))
        size -= gone[-1].bytes
    named = {entry.pack for entry in kept}
    is_blind = None in named
    doomed = {entry.pack for entry in gone}
    report = Collected(entries=len(gone), kept_entries=len(kept), kept_bytes=size)
    names = [entry.found.name for entry in gone]
    report.freed_bytes = sum(entry.found.size for entry in gone)
    async for item in remote.bulk.list(layout.directory(Kind.PACKS)):
        name = layout.parse(item.name)
        if name is None or name.digest in named:
            continue
        if name.digest in doomed or (not is_blind and now - item.modified_s > grace_s):
            names.append(item.name)
            report.packs += 1
            report.freed_bytes += item.size
    if max_age_s is not None:
        for item in await _old_memos(remote, now - max_age_s):
            names.append(item.name)
            report.memos += 1
            report.freed_bytes += item.size
    if not dry_run:
        for start in range(0, len(names), _BATCH):
            await remote.bulk.delete(names[start : start + _BATCH])
    return report


async def _entries(remote: Remote) -> AsyncIterator[_Entry]:
    async for item in remote.bulk.list(layout.directory(Kind.ENTRIES)):
        name = layout.parse(item.name)
        if name is None:
            continue
        try:
            manifest = await exchange.manifest(remote.bulk, remote.trusted, name.digest)
        except RemoteObjectError:
            manifest = None
        pack = manifest.pack if manifest else None
        yield _Entry(name.digest, item, pack, item.size + (manifest.wire_bytes if manifest else 0))


async def _old_memos(remote: Remote, before_s: float) -> list[Found]:
    """Memos of the locators at which nothing was added for so long: slots are found one after the other, so all go."""
    by_place: dict[Digest, list[Found]] = {}
    async for item in remote.bulk.list(layout.directory(Kind.MEMOS)):
        name = layout.parse(item.name)
        if name is not None:
            by_place.setdefault(name.digest, []).append(item)
    old = [items for items in by_place.values() if max(item.modified_s for item in items) < before_s]
    return [item for items in old for item in items]
