"""What builds under way use, unit by unit; at a build's end it becomes a record.

Noting a unit costs a call some microseconds; everything that reads files waits until the build is over.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from kache.cargo import branch, intent, selection, workspace
from kache.cargo.workspace import Workspace
from kache.compilers.rustc.invocation import Refusal
from kache.compilers.rustc.toolchain import Toolchains
from kache.core.digest import Digest
from kache.core.entry import Entry
from kache.core.outcome import Outcome
from kache.core.unit import Unit
from kache.core.usage import BuildRecord, Intent, PlanScore
from kache.engine.calls import Call
from kache.engine.prefetch.records import PlacedUnit, Use, digest_of, label_of, units_of, workspace_id
from kache.engine.requests import environment
from kache.engine.transfer import policy
from kache.errors import StoreError
from kache.ipc.protocol import Request
from kache.store.local import LocalStore

log = logging.getLogger("kache")
MAX_BUILDS = 64
MAX_USES = 50_000
PLANNER_PLACE = "planner "
"""What a place in the upload queue starts with where a planner service is told of a build."""
Scorer = Callable[[str, BuildRecord], PlanScore | None]


@dataclass(slots=True)
class Watched:
    """A build under way.

    Attributes:
        place: its workspace.
        intent: what it is about to do; the lockfile is read at the end.
        started_ns: wall clock of its first call.
        clock: the same, monotonic, in seconds.
        send_to: where its record goes.
        uses: by key, in order of first need.
    """

    place: Workspace
    intent: Intent
    started_ns: int
    clock: float
    send_to: tuple[str, ...]
    uses: dict[Digest, Use] = field(default_factory=dict)
    last: float = 0.0


class Learning:
    """Notes units and makes records of builds that have ended.

    Args:
        store: where records are kept.
        toolchains: tells them apart.
        is_on: builds are seen to end.

    Attributes:
        brought: entries that a prefetch has brought and no call has used yet.
        spent_s: CPU time that noting and recording have taken.
    """

    def __init__(self, store: LocalStore, toolchains: Toolchains, *, is_on: bool) -> None:
        self._store = store
        self._toolchains = toolchains
        self._is_on = is_on
        self._builds: OrderedDict[str, Watched | None] = OrderedDict()
        self._placed: OrderedDict[str, tuple[Call, tuple[Unit, ...]]] = OrderedDict()
        self.spent_s = 0.0
        self.brought = _unused(store) if is_on else set()

    def note(self, call: Call, entry: Entry, outcome: Outcome) -> Outcome:
        """A call was served, or its compile stored.

        Returns:
            What to count it as.
        """
        if not self._is_on:
            return outcome
        began_s = time.thread_time()
        if outcome is Outcome.LOCAL_HIT and entry.key in self.brought:
            outcome = Outcome.PREFETCH_HIT
        watched = self.watched(call)
        if watched is not None and entry.key not in watched.uses and len(watched.uses) < MAX_USES:
            watched.last = call.clock
            watched.uses[entry.key] = Use.of(call.request, entry, outcome, max(call.clock - watched.clock, 0.0))
        self.spent_s += time.thread_time() - began_s
        return outcome

    def note_placed(self, call: Call, units: Sequence[Unit]) -> None:
        """Warm start has put units into a build's target: cargo will not ask for them, and has used them all the same.

        Nothing is looked at before the build is over: cargo waits.
        """
        if self._is_on and units:
            self._placed[call.build.id] = call, tuple(units)
            if len(self._placed) > MAX_BUILDS:
                self._placed.popitem(last=False)

    def watched(self, call: Call) -> Watched | None:
        """The build of a call; None for a command that builds nothing, or nothing that is understood."""
        if call.build.id not in self._builds:
            # Two compiles may be recorded at once: whoever is later must not begin anew.
            self._builds.setdefault(call.build.id, self._begun(call))
            if len(self._builds) > MAX_BUILDS:
                self._builds.popitem(last=False)
        return self._builds[call.build.id]

    def forget(self, build_id: str) -> None:
        """Nothing will come of a build."""
        self._builds.pop(build_id, None)
        self._placed.pop(build_id, None)

    def bring(self, asked: Collection[Digest], came: Collection[Digest]) -> None:
        """A prefetch has ended for some entries, and these came."""
        self.brought -= set(asked) - set(came)
        if came:
            try:
                self._store.records.brought(tuple(came), time.time_ns())
            except StoreError as error:
                log.warning("%s", error.line)

    def builds(self) -> list[str]:
        """Builds that have used something."""
        called = [build for build, watched in list(self._builds.items()) if watched is not None and watched.uses]
        return list(dict.fromkeys((*called, *self._placed)))

    def finish(self, build_id: str, score: Scorer) -> BuildRecord | None:
        """Make and keep the record of a build that ended; reads its sources, so it belongs into a worker thread.

        Args:
            build_id: of the build.
            score: gives the score of its plan.

        Raises:
            StoreError: it cannot be kept.
        """
        began_s = time.thread_time()
        try:
            return self._finish(build_id, score)
        finally:
            self.spent_s += time.thread_time() - began_s

    def _finish(self, build_id: str, score: Scorer) -> BuildRecord | None:
        call, in_place = self._placed.pop(build_id, (None, ()))
        if call is not None:
            self.watched(call)
        watched = self._builds.pop(build_id, None)
        if watched is None:
            return None
        placed = self._with_entries(in_place)
        if not watched.uses and not placed:
            return None
        units, lockfile, is_whole = units_of(watched.place, watched.uses, placed)
        found = with_lockfile(watched.intent, lockfile)
        took_ms = int(max(watched.last - watched.clock, 0.0) * 1000)
        record = BuildRecord(
            id=digest_of(found, [unit.key for unit in units]),
            intent=found,
            at_s=watched.started_ns // 10**9,
            took_ms=took_ms,
            is_whole=is_whole,
            units=units,
        )
        # What somebody edits all day is of no use elsewhere; a job's later commands meet a target that has most of it.
        send_to = watched.send_to if is_whole or found.job else ()
        made = score(build_id, record)
        if made is not None:
            record = replace(record, score=made)
            self._store.records.add_score(found.workspace, build_id, watched.started_ns, made)
        self._store.records.add(record, watched.started_ns, send_to)
        used = self.brought.intersection(unit.key for unit in units)
        if used:
            self.brought -= used
            self._store.records.used(used)
        return record

    def _with_entries(self, units: Iterable[Unit]) -> list[PlacedUnit]:
        """Those that were compiled: what a script's run left is no entry that a call would ask for."""
        found = []
        for unit in units:
            known = self._store.committed(unit.entry_key) if unit.entry_key else None
            if known is not None:
                found.append(PlacedUnit(unit, known[0], known[1].inputs))
        return found

    def _begun(self, call: Call) -> Watched | None:
        build, request = call.build, call.request
        command = intent.read(build.argv) if build.argv else None
        env = environment(request)
        place = workspace.find(command, build.cwd, env) if command is not None else None
        if place is None or command is None or call.config is None:
            return None
        features = selection.read(build.argv)
        made = intent_of(command, place, env, call.config.key_salt, features)
        toolchain = self._toolchains.identify(request.argv[0], env, request.cwd, request.ppid)
        identity = b"" if isinstance(toolchain, Refusal) else toolchain.identity
        return Watched(place, with_toolchain(made, identity), call.at_ns, call.clock, self._places(call, request))

    def _places(self, call: Call, request: Request) -> tuple[str, ...]:
        config = call.config
        if config is None:
            return ()
        places = [PLANNER_PLACE + config.planner] if config.planner else []
        sent_to = policy.sent_to(config, policy.relevant(request.env)) if config.remote is not None else None
        if sent_to is not None:
            places.append(str(sent_to))
        return tuple(places)


def _unused(store: LocalStore) -> set[Digest]:
    try:
        return store.records.unused()
    except StoreError as error:
        log.warning("%s", error.line)
        return set()


def intent_of(
    command: intent.BuildIntent, place: Workspace, env: dict[bytes, bytes], salt: str, features: tuple[str, ...]
) -> Intent:
    """The intent of a cargo command in a workspace, as far as its words and its place tell."""
    return Intent(
        workspace=workspace_id(place, salt),
        label=label_of(place.root),
        target=os.path.basename(os.fsdecode(command.target or b"")).removesuffix(".json"),
        profile=os.fsdecode(command.profile),
        features=features,
        command=command.kind.rstrip("+"),
        takes_all=command.takes_all,
        job=branch.job_of(env),
        branch=branch.branch_of(place.root, env),
    )


def with_lockfile(found: Intent, lockfile: Digest) -> Intent:
    """The same with its lockfile."""
    return replace(found, lockfile=lockfile)


def with_toolchain(found: Intent, toolchain: Digest) -> Intent:
    """The same with its toolchain."""
    return replace(found, toolchain=toolchain)
