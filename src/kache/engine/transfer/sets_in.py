"""Unit sets brought from a remote: what a fresh target can be filled with before cargo asks.

Found by workspace, compiler and profile: that of the same lock file and kind of build, else of the same lock file, else
the newest. What is brought is an ordinary unit set of the store then, and placed, or not, by the same rules.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from kache.compilers.file_digests import FileDigests
from kache.core.digest import Digest
from kache.core.entry import InputKind
from kache.core.unit import Unit
from kache.engine.transfer.arrivals import Course
from kache.engine.transfer.fetch import Budget, EntryFetch, Fetched
from kache.engine.transfer.landing import demand_keys
from kache.engine.transfer.remotes import Remote
from kache.engine.transfer.sets_out import SET, key_of
from kache.engine.warm_start import kept
from kache.engine.warm_start.portable import at_home, what_is_odd
from kache.engine.warm_start.shared import Wanted, mark_of, placeable, whole
from kache.errors import RemoteDeniedError, RemoteError, RemoteObjectError
from kache.remote import unit_sets
from kache.remote.documents import EntryManifest
from kache.remote.unit_sets import UnitSetDocument, UnitSetName, lock_mark
from kache.store.local import LocalStore
from kache.store.transfers import Transfer

log = logging.getLogger("kache")
MAX_TRIED = 3
"""Sets looked at, should the first not be to be trusted."""
_CHECKOUT = b"<cwd>/"
_AGO_NS = 10**9
_LIMIT_S = 600.0
InThread = Callable[..., Awaitable[Any]]
Tell = Callable[[Fetched, Course], None]


@dataclass(slots=True)
class Brought:
    """What a remote has for a build.

    Attributes:
        units: of all profiles, as this machine would have made them.
        first: entries of those that may be placed, in the order in which they are needed.
        rest: the other entries of the sets: for hits.
        refused: sets that were not to be trusted.
        date_ns: what all files are dated: alike, so that nothing is older than what it was made of, and a little ago,
            so that it is older than what placing dates now.
    """

    units: dict[str, list[Unit]] = field(default_factory=dict)
    first: list[EntryManifest] = field(default_factory=list)
    rest: list[EntryManifest] = field(default_factory=list)
    refused: int = 0
    date_ns: int = field(default_factory=lambda: time.time_ns() - _AGO_NS)


class SetReads:
    """Brings unit sets. Belongs to one event loop.

    Args:
        store: where they go.
        digests: the stat memo.
        fetch: brings entries.
        in_thread: runs blocking work beside the loop.
        note: takes rows for what went over the wire.
    """

    def __init__(
        self,
        store: LocalStore,
        digests: FileDigests,
        fetch: EntryFetch,
        in_thread: InThread,
        note: Callable[[Transfer], None],
    ) -> None:
        self._store = store
        self._digests = digests
        self._fetch = fetch
        self._in_thread = in_thread
        self._note = note

    async def find(self, remote: Remote, wanted: Wanted, build: str) -> Brought:
        """The sets of a build's profiles: verified, made this machine's, nothing of their blobs fetched.

        Raises:
            RemoteError: the remote cannot be asked, or stands still.
        """
        brought = Brought()
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._one(remote, wanted, each, brought, build)) for each in wanted.profiles]
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None
        for task in tasks:
            document = task.result()
            if document is not None:
                await self._in_thread(self._take, wanted, document, brought)
        return brought

    async def _one(
        self, remote: Remote, wanted: Wanted, profile: str, brought: Brought, build: str
    ) -> UnitSetDocument | None:
        scope = unit_sets.scope_of(remote.domain, wanted.workspace, wanted.toolchain, profile)
        started, before = time.monotonic(), remote.demand.received_bytes
        try:
            names = await unit_sets.names(remote.demand, scope)
        except RemoteDeniedError as error:  # who may not list has hits all the same
            log.warning("no unit sets of %s: %s", remote.place, error.line)
            return None
        except TimeoutError as error:
            raise RemoteError(f"cannot list {remote.place}", why="it stood still for too long") from error
        requests = 1
        found = None
        for name in ranked(names, wanted)[:MAX_TRIED]:
            requests += 1
            try:
                found = await unit_sets.fetch(remote.demand, remote.trusted, name)
                if found is not None:
                    demand_own(found, wanted, profile)
                    break
            except RemoteObjectError as error:
                found = None
                brought.refused += 1
                log.warning("a unit set of %s: %s", remote.place, error.line)
        outcome = "refused" if found is None and brought.refused else SET
        size, waited_us = remote.demand.received_bytes - before, int((time.monotonic() - started) * 1e6)
        self._note(Transfer(time.time_ns(), build, "get", outcome, None, requests, size, waited_us, 0))
        return found

    def _take(self, wanted: Wanted, document: UnitSetDocument, brought: Brought) -> None:
        """Choose what of a set this checkout may want."""
        manifests = {manifest.entry.key: manifest for manifest in document.entries}
        units = [
            unit
            for unit in whole(at_home(document.units, wanted.machine, brought.date_ns))
            if wanted.lock_file.has(unit)
        ]
        changed = {mark_of(unit) for unit in units if self._is_changed(wanted.root, unit, manifests)}
        chosen = {key_of(unit) for unit in placeable(units, wanted, changed)}
        listed = {manifest.entry.key for manifest in (*brought.first, *brought.rest)}
        for key, manifest in manifests.items():
            if key not in listed:
                (brought.first if key in chosen else brought.rest).append(manifest)
        brought.units[document.profile] = units

    def _is_changed(self, root: bytes, unit: Unit, manifests: dict[Digest, EntryManifest]) -> bool:
        """Whether a source of the checkout is not what the unit was made of; placing looks at everything again."""
        manifest = manifests.get(unit.entry_key)
        if manifest is None or not unit.is_path or unit.cwd != b"<cwd>":
            return False
        for item in manifest.inputs:
            if item.kind == InputKind.FILE and item.name.startswith(_CHECKOUT):
                try:
                    here = self._digests.digest(os.path.join(root, item.name[len(_CHECKOUT) :]))
                except OSError:
                    return True
                if here != item.value:
                    return True
        return False

    async def bring(
        self, remote: Remote, brought: Brought, *, first: bool, build: str, tell: Tell | None = None
    ) -> Fetched:
        """Fetch the entries of sets that may be placed, or the rest of them.

        The breaker ends it where a remote stands still; whoever waits for it has limits of their own.
        """
        manifests = brought.first if first else brought.rest
        return await self._fetch.fetch(
            remote, manifests, Budget(_LIMIT_S), build=build, progress=tell, date_ns=brought.date_ns
        )

    async def keep(self, wanted: Wanted, brought: Brought) -> int:
        """Make what has come a set of the store; how many of its units are whole.

        Raises:
            StoreError: it cannot be written.
        """
        return int(await self._in_thread(self._keep, wanted, brought))

    def _keep(self, wanted: Wanted, brought: Brought) -> int:
        count = 0
        for profile, units in brought.units.items():
            here = [unit for unit in units if (key := key_of(unit)) is None or self._store.entry(key) is not None]
            here = whole(here)
            if here:
                before = self._store.unit_set(wanted.workspace, profile, wanted.toolchain)
                self._store.save_unit_set(kept.merge(before, here))
                count += len(here)
        return count


def ranked(names: Sequence[UnitSetName], wanted: Wanted) -> list[UnitSetName]:
    """The likeliest first: of the lock file and kind of build, of the lock file, of the kind; then by date. Pure."""
    mark = lock_mark(wanted.lock)
    return sorted(names, key=lambda name: (name.lock != mark, name.intent != wanted.intent, -name.at_s))


def demand_own(document: UnitSetDocument, wanted: Wanted, profile: str) -> None:
    """A set must be of what was asked for, its files below its profile, its entries what their inputs say.

    Raises:
        RemoteObjectError: it is not.
    """
    if (document.workspace, document.profile, document.toolchain) != (wanted.workspace, profile, wanted.toolchain):
        raise RemoteObjectError("a unit set is another one's")
    entries = {}
    for manifest in document.entries:
        demand_keys(manifest, manifest.entry.key)
        entries[manifest.entry.key] = manifest.entry
    for unit in document.units:
        odd = what_is_odd(unit, profile)
        if odd:
            raise RemoteObjectError(f"a unit set names {odd}")
        key = key_of(unit)
        if key is None:
            continue
        entry = entries.get(key)
        if entry is None or (unit.entry_key and entry.weak_key != unit.weak_key):
            raise RemoteObjectError(f"a unit set has no entry for {unit.directory!r}")
        made = {(artifact.name, artifact.digest) for artifact in entry.artifacts}
        if any(file.digest and (os.path.basename(file.path), file.digest) not in made for file in unit.files):
            raise RemoteObjectError(f"a unit set has a file that its entry has not, in {unit.directory!r}")
