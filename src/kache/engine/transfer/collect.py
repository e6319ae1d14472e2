"""What a remote can do without: what was long not used, what is beyond a size, what nothing names.

An entry's age is since it was written, or since the last build that used it began, whichever is less: build manifests
say which builds used what.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Any

from kache.core.digest import Digest
from kache.engine.transfer.bulk import each
from kache.engine.transfer.policy import PULL_DIRECTORY
from kache.engine.transfer.remotes import Remote
from kache.errors import RemoteError, RemoteObjectError
from kache.remote import exchange, layout, unit_sets
from kache.remote.backend import Found
from kache.remote.layout import BuildName, Kind
from kache.remote.unit_sets import UnitSetName

GRACE_S = 24 * 3600.0
"""A pack is put before its manifest, an entry before the build manifest that names it: young ones wait for that."""
_BATCH = 500
_SETS_READ = 4
"""Of a workspace's profile, the newest: older ones name what builds no longer want."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may stay.

    Attributes:
        max_age_s: since its last use; None for any.
        max_bytes: of all entries; those used last stay. None for no bound.
        unreachable: remove entries that no build manifest names.
        grace_s: what is younger stays in any case but for age and size.
        dry_run: remove nothing.
    """

    max_age_s: float | None = None
    max_bytes: int | None = None
    unreachable: bool = False
    grace_s: float = GRACE_S
    dry_run: bool = False


@dataclass(slots=True)
class Collected:
    """What went, or would go.

    Attributes:
        entries, packs, memos, builds, unit_sets: objects removed.
        pull_requests: namespaces of pull requests removed.
        freed_bytes: theirs.
        kept_entries, kept_bytes: what stays.
        reachable: of all entries those that a build manifest names.
        unread_builds: build manifests and unit sets that cannot be trusted or read; what they name counts as named by
            nobody.
    """

    entries: int = 0
    packs: int = 0
    memos: int = 0
    builds: int = 0
    unit_sets: int = 0
    pull_requests: int = 0
    freed_bytes: int = 0
    kept_entries: int = 0
    kept_bytes: int = 0
    reachable: int = 0
    unread_builds: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(slots=True)
class _Entry:
    found: Found
    pack: Digest | None
    bytes: int
    used_s: float
    is_named: bool


async def collect(remote: Remote, limits: Limits) -> Collected:
    """Remove what is beyond the limits: entries, then packs that no manifest names, memos and build manifests by age.

    Manifests go before their packs, so a reader at worst finds no entry. A manifest that cannot be read here goes by
    age alone, and while one stays no pack is taken for unnamed: it may name it.

    Raises:
        RemoteError: the remote cannot be asked, or what no build manifest names is to go and there is none.
    """
    now, report = time.time(), Collected()
    used = await _used(remote, report)
    if limits.unreachable and not used:
        why = "no build manifest can be read: kache save-manifest, or builds with a remote, send them"
        raise RemoteError("nothing says which entries are used", why=why, fix="go by --max-age or --max-size")
    entries = sorted(await _entries(remote, used), key=lambda entry: entry.used_s)
    gone, kept = _chosen(entries, limits, now)
    report.entries, report.kept_entries = len(gone), len(kept)
    report.kept_bytes = sum(entry.bytes for entry in kept)
    report.reachable = sum(entry.is_named for entry in entries)
    names = [entry.found.name for entry in gone]
    report.freed_bytes = sum(entry.found.size for entry in gone)
    for item in await _packs(remote, kept, gone, now - limits.grace_s):
        names.append(item.name)
        report.packs += 1
        report.freed_bytes += item.size
    if limits.max_age_s is not None:
        names += await _old(remote, now - limits.max_age_s, report)
    if not limits.dry_run:
        for start in range(0, len(names), _BATCH):
            await remote.bulk.delete(names[start : start + _BATCH])
    return report


def _chosen(entries: list[_Entry], limits: Limits, now: float) -> tuple[list[_Entry], list[_Entry]]:
    """Those that go and those that stay, of entries in the order of their last use."""
    gone: list[_Entry] = []
    kept: list[_Entry] = []
    for entry in entries:
        is_old = limits.max_age_s is not None and now - entry.used_s > limits.max_age_s
        is_settled = now - entry.found.modified_s > limits.grace_s
        is_lost = limits.unreachable and not entry.is_named and is_settled
        (gone if is_old or is_lost else kept).append(entry)
    size = sum(entry.bytes for entry in kept)
    if limits.max_bytes is not None:
        kept.reverse()  # the last is the first to go
        while kept and size > limits.max_bytes:
            gone.append(kept.pop())
            size -= gone[-1].bytes
    return gone, kept


async def _used(remote: Remote, report: Collected) -> dict[Digest, int]:
    """When each entry was used last, by the build manifests that can be read: names of entries to s since the epoch."""
    names: list[BuildName] = []
    async for item in remote.bulk.list(layout.directory(Kind.BUILDS)):
        name = layout.parse_build(item.name)
        if name is not None:
            names.append(name)
    used: dict[Digest, int] = {}

    async def read(name: BuildName) -> None:
        try:
            manifest = await exchange.build(remote.bulk, remote.trusted, name)
        except RemoteObjectError:
            report.unread_builds += 1
            return
        for unit in manifest.record.units if manifest is not None else ():
            subject = layout.entry_subject(remote.domain, unit.key)
            used[subject] = max(used.get(subject, 0), name.at_s)

    await each(names, read, remote.concurrency)
    for subject, at_s in (await _in_sets(remote, report)).items():
        used[subject] = max(used.get(subject, 0), at_s)
    return used


async def _in_sets(remote: Remote, report: Collected) -> dict[Digest, int]:
    """The same by the newest unit sets: what runs of build scripts left is named by no build manifest."""
    by_scope: dict[Digest, list[UnitSetName]] = {}
    async for item in remote.bulk.list(layout.directory(Kind.UNITS)):
        name = unit_sets.parse(item.name)
        if name is not None:
            by_scope.setdefault(name.scope, []).append(name)
    used: dict[Digest, int] = {}

    async def read(name: UnitSetName) -> None:
        try:
            found = await unit_sets.fetch(remote.bulk, remote.trusted, name)
        except RemoteObjectError:
            report.unread_builds += 1
            return
        for manifest in found.entries if found is not None else ():
            subject = layout.entry_subject(remote.domain, manifest.entry.key)
            used[subject] = max(used.get(subject, 0), name.at_s)

    newest = [name for names in by_scope.values() for name in sorted(names, key=lambda name: -name.at_s)[:_SETS_READ]]
    await each(newest, read, min(remote.concurrency, 2))  # each may take some megabytes
    return used


async def _entries(remote: Remote, used: dict[Digest, int]) -> list[_Entry]:
    listed: list[tuple[Digest, Found]] = []
    async for item in remote.bulk.list(layout.directory(Kind.ENTRIES)):
        name = layout.parse(item.name)
        if name is not None:
            listed.append((name.digest, item))
    entries: list[_Entry] = []

    async def look(one: tuple[Digest, Found]) -> None:
        subject, item = one
        try:
            manifest = await exchange.manifest(remote.bulk, remote.trusted, subject)
        except RemoteObjectError:
            manifest = None
        pack, size = (manifest.pack, manifest.wire_bytes) if manifest else (None, 0)
        at_s = max(item.modified_s, used.get(subject, 0))
        entries.append(_Entry(item, pack, item.size + size, at_s, subject in used))

    await each(listed, look, remote.concurrency)
    return entries


async def _packs(remote: Remote, kept: list[_Entry], gone: list[_Entry], before_s: float) -> list[Found]:
    """Packs of which nothing is left."""
    named = {entry.pack for entry in kept}
    doomed = {entry.pack for entry in gone}
    is_blind = None in named
    found = []
    async for item in remote.bulk.list(layout.directory(Kind.PACKS)):
        name = layout.parse(item.name)
        if name is None or name.digest in named:
            continue
        if name.digest in doomed or (not is_blind and item.modified_s < before_s):
            found.append(item)
    return found


async def _old(remote: Remote, before_s: float, report: Collected) -> list[str]:
    """Names of what goes by its age alone."""
    names = []
    for item in await _old_memos(remote, before_s):
        names.append(item.name)
        report.memos += 1
        report.freed_bytes += item.size
    async for item in remote.bulk.list(layout.directory(Kind.BUILDS)):
        if item.modified_s < before_s and layout.parse_build(item.name) is not None:
            names.append(item.name)
            report.builds += 1
            report.freed_bytes += item.size
    async for item in remote.bulk.list(layout.directory(Kind.UNITS)):
        if item.modified_s < before_s and unit_sets.parse(item.name) is not None:
            names.append(item.name)
            report.unit_sets += 1
            report.freed_bytes += item.size
    async for items in _old_pull_requests(remote, before_s):
        names += [item.name for item in items]
        report.pull_requests += 1
        report.freed_bytes += sum(item.size for item in items)
    return names


async def _old_memos(remote: Remote, before_s: float) -> list[Found]:
    """Memos of the locators at which nothing was added for so long: slots are found one after the other, so all go."""
    by_place: dict[Digest, list[Found]] = {}
    async for item in remote.bulk.list(layout.directory(Kind.MEMOS)):
        name = layout.parse(item.name)
        if name is not None:
            by_place.setdefault(name.digest, []).append(item)
    old = [items for items in by_place.values() if max(item.modified_s for item in items) < before_s]
    return [item for items in old for item in items]


async def _old_pull_requests(remote: Remote, before_s: float) -> AsyncIterator[list[Found]]:
    """All objects of each namespace in which nothing was written for so long."""
    by_name: dict[str, list[Found]] = {}
    async for item in remote.bulk.list(f"{PULL_DIRECTORY}/"):
        by_name.setdefault(item.name.split("/")[1], []).append(item)
    for items in by_name.values():
        if max(item.modified_s for item in items) < before_s:
            yield items
