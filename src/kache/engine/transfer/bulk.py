"""Many entries at once: all of a remote brought here, or all of the store sent there; and its upkeep.

Nothing is held for more than the entries under way, but 32 bytes a name: 10,000 entries take some 2 MB.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from kache.core.digest import Digest
from kache.core.entry import InputMemo
from kache.core.unit import RUN_KIND
from kache.engine.transfer.landing import Landing, demand_keys, range_of, unpacker
from kache.engine.transfer.remotes import Remote
from kache.engine.transfer.sets_out import SetWrites
from kache.engine.transfer.writes import PACK_BYTES, PACK_ENTRIES, RemoteWrites
from kache.errors import KacheError, RemoteError, RemoteObjectError
from kache.remote import exchange, layout
from kache.remote.documents import EntryManifest
from kache.remote.layout import Kind
from kache.store.local import LocalStore
from kache.store.transfers import Transfer

log = logging.getLogger("kache")
Progress = Callable[["Report"], None]
Item = TypeVar("Item")
GIVEN_UP = 8
"""Failures in a row after which nothing more is asked for: each may take a minute."""


@dataclass(slots=True)
class Report:
    """What a bulk transfer did.

    Attributes:
        seen: entries looked at.
        skipped: those that were there already, or not wanted.
        done: entries brought or sent (or that would be, in a dry run).
        bytes: of their packs.
        refused: objects that could not be trusted or read.
        failed: entries that could not be brought or sent.
        differing: entries that are there with another result.
        problems: the first few of what went wrong, for people.
        unit_sets: sets for warm start sent.
        total: entries there are to look at.
        lost: requests in a row that the remote did not answer as it should.
    """

    seen: int = 0
    skipped: int = 0
    done: int = 0
    bytes: int = 0
    refused: int = 0
    failed: int = 0
    differing: int = 0
    problems: list[str] = field(default_factory=list)
    unit_sets: int = 0
    total: int = 0
    lost: int = 0

    def problem(self, text: str) -> None:
        """Keep what was said first."""
        if len(self.problems) < 20:
            self.problems.append(text)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


async def pull(
    remote: Remote,
    store: LocalStore,
    progress: Progress,
    *,
    crates: Collection[str] | None = None,
    dry_run: bool = False,
) -> Report:
    """Bring every entry that is not here.

    Args:
        remote: from where.
        store: to where.
        progress: told after each entry.
        crates: only of these crates; None for all.
        dry_run: bring nothing, count what would come.
    """
    report = Report()
    rows: list[Transfer] = []
    here = {layout.entry_subject(remote.domain, key) for key in store.entry_keys()}

    async def one(subject: Digest) -> None:
        report.seen += 1
        if subject in here:
            report.skipped += 1
        else:
            await _guarded(report, _pull_one(remote, store, subject, report, crates, None if dry_run else rows))
        progress(report)

    subjects = [subject async for subject in _subjects(remote)]
    report.total = len(subjects)
    try:
        await each(subjects, one, remote.concurrency)
    finally:
        store.uploads.note(rows)
    return report


async def push(
    remote: Remote,
    store: LocalStore,
    progress: Progress,
    *,
    crates: Collection[str] | None = None,
    dry_run: bool = False,
) -> Report:
    """Send every entry that is not there; the arguments are `pull`'s."""
    report = Report()
    there = {subject async for subject in _subjects(remote)}
    writes = RemoteWrites(store)

    names: dict[Digest, str] = {}

    async def send(keys: Sequence[Digest]) -> None:
        sent = remote.bulk.sent_bytes
        outcomes = await writes.send(remote, keys)
        report.bytes += max(remote.bulk.sent_bytes - sent, 0)
        for key, outcome in outcomes.items():
            report.done += outcome in ("stored", "present")
            report.differing += outcome == "differs"
            report.refused += outcome == "refused"
            report.failed += outcome in ("failed", "gone")
            if outcome in ("differs", "refused", "failed"):
                report.problem(f"{names[key]}: {outcome} ({remote.writes.why})")
        names.clear()
        progress(report)

    pack_bytes = 0
    try:
        keys = store.entry_keys()
        report.total = len(keys)
        for key in reversed(keys):  # what was needed first comes first
            report.seen += 1
            entry = store.entry(key)
            # What a build script's run left goes with unit sets: no compile asks for it.
            wanted = (
                entry is not None and entry.unit_kind != RUN_KIND and (crates is None or entry.crate_name in crates)
            )
            if not wanted or layout.entry_subject(remote.domain, key) in there:
                report.skipped += 1
            elif dry_run:
                assert entry is not None
                report.done += 1
                report.bytes += sum(artifact.size for artifact in entry.artifacts)
            else:
                assert entry is not None
                names[key] = entry.crate_name
                pack_bytes += sum(artifact.size for artifact in entry.artifacts)
                if pack_bytes >= PACK_BYTES or len(names) >= PACK_ENTRIES:
                    await send(tuple(names))
                    pack_bytes = 0
            progress(report)
        if names:
            await send(tuple(names))
        if not dry_run and crates is None and remote.secret is not None:
            report.unit_sets, failed = await SetWrites(store, writes).send_all(remote)
            report.failed += failed
    finally:
        writes.close()
    return report


async def verify(remote: Remote, progress: Progress, *, with_packs: bool) -> Report:
    """Look at every entry manifest: is it signed by a trusted key, does its pack exist, and does it hold what it must?

    Args:
        remote: which.
        progress: told after each entry.
        with_packs: fetch every pack and look at every byte.
    """
    report = Report()
    packs = {found.digest async for found, _ in _objects(remote, Kind.PACKS)}

    async def one(subject: Digest) -> None:
        report.seen += 1
        await _guarded(report, _verify_one(remote, subject, packs, report, with_packs=with_packs))
        progress(report)

    subjects = [subject async for subject in _subjects(remote)]
    report.total = len(subjects)
    await each(subjects, one, remote.concurrency)
    return report


async def _pull_one(
    remote: Remote,
    store: LocalStore,
    subject: Digest,
    report: Report,
    crates: Collection[str] | None,
    rows: list[Transfer] | None,
) -> None:
    manifest = await _manifest(remote, subject)
    if manifest is None or (crates is not None and manifest.entry.crate_name not in crates):
        report.skipped += 1
        return
    if rows is not None:  # else it is a dry run
        await land(remote, store, manifest)
        entry, at_ns = manifest.entry, time.time_ns()
        rows.append(Transfer(at_ns, "", "get", "hit", entry.key, 2, manifest.wire_bytes, 0, entry.compile_ms))
    report.done += 1
    report.bytes += manifest.wire_bytes


async def land(remote: Remote, store: LocalStore, manifest: EntryManifest) -> None:
    """Bring the pack of a manifest and store its entry.

    Raises:
        RemoteError: it cannot be had, or is not what it must be.
        StoreError: it cannot be stored.
    """
    memo = InputMemo(manifest.entry.weak_key, manifest.entry.key, manifest.inputs)
    landing = Landing(store, manifest, manifest.entry)
    try:
        async for piece in remote.bulk.stream(layout.pack_name(manifest.pack), range_of(manifest)):
            if piece is None:
                raise RemoteObjectError("a pack is not there", why="its manifest is, so it was removed")
            await asyncio.to_thread(landing.feed, piece)
        await asyncio.to_thread(landing.commit, manifest.entry, memo)
    except BaseException:
        landing.drop()
        raise


async def _verify_one(
    remote: Remote, subject: Digest, packs: Collection[Digest], report: Report, *, with_packs: bool
) -> None:
    manifest = await _manifest(remote, subject)
    if manifest is None:
        return
    if manifest.pack not in packs:
        raise RemoteObjectError(f"the pack of {manifest.entry.crate_name} is not there")
    if with_packs:
        taker = unpacker(manifest, lambda _: _Nowhere())
        async for piece in remote.bulk.stream(layout.pack_name(manifest.pack), range_of(manifest)):
            if piece is None:
                raise RemoteObjectError(f"the pack of {manifest.entry.crate_name} is not there")
            await asyncio.to_thread(taker.feed, piece)
        taker.finish()
        report.bytes += manifest.wire_bytes
    report.done += 1


class _Nowhere:
    def write(self, piece: bytes) -> None:
        """The digest of all of it says enough."""


async def _manifest(remote: Remote, subject: Digest) -> EntryManifest | None:
    """A manifest that is its name's.

    Raises:
        RemoteObjectError: it is another entry's, or cannot be trusted or read.
    """
    manifest = await exchange.manifest(remote.bulk, remote.trusted, subject)
    if manifest is None:
        return None
    entry = manifest.entry
    if layout.entry_subject(remote.domain, entry.key) != subject:
        raise RemoteObjectError(f"the manifest of {entry.crate_name} has keys that are not its own")
    demand_keys(manifest, entry.key)
    return manifest


async def _guarded(report: Report, work: Coroutine[Any, Any, None]) -> None:
    if report.lost >= GIVEN_UP:  # the remote is gone: the rest is for the next time
        work.close()
        report.failed += 1
        return
    try:
        await work
        report.lost = 0
    except RemoteObjectError as error:
        report.refused += 1
        report.problem(error.line)
    except (KacheError, OSError) as error:
        report.failed += 1
        report.lost += isinstance(error, RemoteError)
        report.problem(error.line if isinstance(error, KacheError) else str(error))


async def each(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], count: int) -> None:
    """Do some work for each item, so many at a time; the first error of one ends them all, and is raised as it is."""
    left = iter(items)

    async def worker() -> None:
        for item in left:
            await work(item)

    workers = [asyncio.ensure_future(worker()) for _ in range(count)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


async def _subjects(remote: Remote) -> AsyncIterator[Digest]:
    async for found, _ in _objects(remote, Kind.ENTRIES):
        yield found.digest


async def _objects(remote: Remote, kind: str) -> AsyncIterator[tuple[layout.ObjectName, Any]]:
    async for item in remote.bulk.list(layout.directory(kind)):
        name = layout.parse(item.name)
        if name is not None:
            yield name, item
