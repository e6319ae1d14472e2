"""Warm start as the engine sees it: seed a fresh target at cargo's first question, capture when cargo has ended."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict, deque
from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

from kache.cargo import intent, workspace
from kache.cargo.intent import BuildIntent
from kache.cargo.workspace import Workspace
from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc.toolchain import Toolchain
from kache.config.load import Config
from kache.core.digest import hash_parts
from kache.core.unit import Unit
from kache.engine.builds import Build
from kache.engine.in_place_linkers import InPlaceLinkers
from kache.engine.requests import environment
from kache.engine.warm_start import host, kept, shared, watched_runs
from kache.engine.warm_start.capture import Capture, Place
from kache.engine.warm_start.copies_ahead import CopiesAhead
from kache.engine.warm_start.inputs import Checkout
from kache.engine.warm_start.lock import locked
from kache.engine.warm_start.place import Placed, Placer, in_order
from kache.engine.warm_start.places import cargo_home_of, has_room, is_virgin
from kache.engine.warm_start.traces import Trace, Traces
from kache.engine.warm_start.watched_runs import Watched
from kache.ipc.protocol import Request
from kache.store.local import LocalStore

log = logging.getLogger("kache")
MAX_BYTES = 8 << 30
"""Of blobs placed at one time; units beyond it wait for hits."""
MAX_OTHERS = 4
"""Other workspaces looked at for what a new one shares with them: those built last."""
OTHER_GRAIN_NS = 10_000_000
"""What a filesystem that is not the cache's may date a file too early: exFAT counts in steps of 10 ms."""
_REMEMBERED = 64


class Known(NamedTuple):
    """What is known of a build.

    Attributes:
        workspace: None for a command that builds nothing, or nothing that is understood.
        intent: what it is about to do.
        env, umask: cargo's.
        config: of the workspace.
        began_ns: when it was met first, by the wall clock.
    """

    workspace: Workspace | None
    intent: BuildIntent | None
    env: Mapping[bytes, bytes]
    umask: int
    config: Config
    began_ns: int


class WarmStart:
    """Seeds and captures.

    Args:
        store: where sets, memos and blobs are.
        digests: the stat memo.
        traces: what builds under way compiled.
        in_place_linkers: whether one is at hand.
    """

    def __init__(
        self, store: LocalStore, digests: FileDigests, traces: Traces, in_place_linkers: InPlaceLinkers
    ) -> None:
        self._store = store
        self._digests = digests
        self._traces = traces
        self._in_place_linkers = in_place_linkers
        self._seeded: deque[str] = deque(maxlen=_REMEMBERED)
        self._builds: OrderedDict[str, Known] = OrderedDict()

    def note(self, build: Build, request: Request, config: Config) -> Workspace | None:
        """Find out which workspace a build is of; asked once a build, by the first of its calls."""
        known = self._builds.get(build.id)
        if known is None:
            env = environment(request)
            wanted = intent.read(build.argv) if build.argv else None
            is_ours = wanted is not None and workspace.is_wrapped_by_kache(build.cwd, env)
            found = workspace.find(wanted, build.cwd, env) if wanted is not None and is_ours else None
            if found is not None:  # caches with different salts share nothing
                salted = hash_parts([found.identity, config.key_salt.encode()])
                found = Workspace(found.root, found.target_dir, salted)
            known = self._builds[build.id] = Known(found, wanted, env, request.umask, config, time.time_ns())
            if len(self._builds) > _REMEMBERED:
                self._builds.popitem(last=False)
        return known.workspace

    def is_due(self, build: Build) -> bool:
        """Whether a noted build begins in a target that cargo has never built in, and was not seeded before.

        cargo asks `-vV` twice before it writes what tells a target it has built in.
        """
        known = self._builds.get(build.id)
        found = known.workspace if known is not None else None
        return found is not None and build.id not in self._seeded and is_virgin(found.target_dir)

    def seed(
        self, build: Build, umask: int, toolchain: Toolchain, now: os.stat_result, *, fills_up: bool
    ) -> Placed | None:
        """Put what fits into a noted build's target directory.

        Args:
            build: cargo's command.
            umask: its umask.
            toolchain: the compiler it asked.
            now: of a file touched now on the cache's filesystem: nothing saved there later is older.
            fills_up: also where cargo has built before.

        Returns:
            What was placed; None where nothing was tried.
        """
        known = self._builds.get(build.id)
        if known is None or known.workspace is None or known.intent is None:
            return None
        found, env = known.workspace, known.env
        self._seeded.append(build.id)
        by_profile = self._wanted(found, known.intent, kept.filed_under(toolchain.identity, known.config))
        size = sum(file.size for units in by_profile.values() for unit in units for file in unit.files)
        if not by_profile:
            return None
        if not has_room(found.target_dir, size):
            log.warning("warm start of %s: too little room for %d bytes", os.fsdecode(found.root), size)
            return None
        checkout = Checkout(
            workspace=found.root,
            sysroot=toolchain.sysroot,
            env=env,
            salt=known.config.trust_domain.encode(),
            target_dir=found.target_dir,
            cargo_home=cargo_home_of(env),
            steering=host.steering(env),
            umask=umask,
            host=host.identity(env, self._digests),
            date_ns=now.st_mtime_ns - (1 if os.stat(found.root).st_dev == now.st_dev else OTHER_GRAIN_NS),
            links_programs=not self._in_place_linkers.at_hand(env),
            fills_up=fills_up,
        )
        profiles = sorted(by_profile, key=lambda name: name.count("/"))
        ordered = {profile: list(in_order(by_profile[profile])) for profile in profiles}
        with CopiesAhead(self._store, (unit for profile in profiles for unit in ordered[profile])) as ahead:
            placer = Placer(self._store, self._digests, checkout, ahead)
            for profile in profiles:
                placer.place(profile, ordered[profile])
        for trace in placer.traces(toolchain.identity):
            self._traces.add(build.id, trace, 0)
        log.info("warm start of %s: %d units", os.fsdecode(found.root), len(placer.placed.units))
        return placer.placed

    def _wanted(self, found: Workspace, wanted: BuildIntent, toolchain: bytes) -> dict[str, list[Unit]]:
        """Units that a build may want, by profile: of this workspace, the rest of its lock file from others."""
        lock_file = kept.LockFile(found.root)
        by_profile: dict[str, list[Unit]] = {}
        left_bytes = MAX_BYTES
        for profile in wanted.profiles():  # of others what cargo does not track may change before they are asked for
            unit_set = self._store.unit_set(found.identity, profile, toolchain)
            units = [unit for unit in kept.wanted_by(wanted.kind, unit_set.units) if lock_file.has(unit)]
            by_profile[profile] = units
            if lock_file.is_more_than(units):
                others = self._store.other_unit_sets(found.identity, toolchain, profile, MAX_OTHERS)
                theirs = (unit for each in others for unit in each.units if lock_file.has(unit))
                units += kept.shared_with(units, theirs)
        chosen: dict[str, list[Unit]] = {}
        for profile, units in by_profile.items():
            for unit in units:
                left_bytes -= sum(file.size for file in unit.files)
                if left_bytes < 0:
                    return chosen
                chosen.setdefault(profile, []).append(unit)
        return chosen

    def wanted(self, build: Build, toolchain: Toolchain) -> shared.Wanted | None:
        """What a noted build that begins in a fresh target may want of a remote; None if nothing."""
        known = self._builds.get(build.id)
        if known is None or known.workspace is None or known.intent is None:
            return None
        found, intent_ = known.workspace, known.intent
        described = (found.root, found.target_dir, found.identity, intent_.profiles(), intent_.kind)
        surroundings = known.env, known.config, kept.filed_under(toolchain.identity, known.config)
        return shared.wanted_of(self._store, self._digests, described, surroundings)

    def capture(self, build_id: str) -> int | None:
        """Keep what a build that ended left.

        Returns:
            The number of units kept; None if another cargo is at work there: try again when it has ended.
        """
        by_profile = self._traces.of(build_id)
        known = self._builds.get(build_id)
        count = 0
        if known is not None and known.workspace is not None and known.intent is not None:
            with ExitStack() as stack:
                if not all(stack.enter_context(locked(directory)) for directory in by_profile):
                    return None
                last_ns = self._traces.last_ns(build_id)
                count = self._capture(known.workspace, known.intent, known, by_profile, last_ns)
        if known is not None:
            watched_runs.remove(watched_runs.directory_of(known.env, known.config.cache_dir))
        self._traces.drop(build_id)
        self._builds.pop(build_id, None)
        return count

    def _capture(
        self,
        found: Workspace,
        intent_: BuildIntent,
        known: Known,
        by_profile: dict[bytes, dict[bytes, Trace]],
        last_ns: int,
    ) -> int:
        env, count = known.env, 0
        if host.changed_ns(env) > known.began_ns:
            log.info("not captured: tools of this machine changed during the build of %s", os.fsdecode(found.root))
            return 0
        compiled: dict[str, Trace] = {}
        runs = watched_runs.directory_of(env, known.config.cache_dir)
        for directory in sorted(by_profile, key=lambda path: path.count(b"/")):
            traces = by_profile[directory]
            profile = os.path.relpath(directory, found.target_dir)
            if profile.startswith(b".."):
                continue
            toolchain = kept.filed_under(next(iter(traces.values())).toolchain, known.config)
            before = self._store.unit_set(found.identity, os.fsdecode(profile), toolchain)
            by_place: dict[tuple[str, str], list[Unit]] = {}
            for unit in before.units:
                by_place.setdefault(unit.place, []).append(unit)
            place = Place(
                target_dir=found.target_dir,
                root=found.root,
                profile=before.profile,
                host=host.identity(env, self._digests),
                cargo_home=cargo_home_of(env),
                umask=known.umask,
                intent=intent_.kind,
                steering=host.steering(env),
                last_compile_ns=last_ns,
                trusts_declarations=known.config.warm_start_scripts == "declared",
                watched=Watched(runs, env, known.config.trust_domain.encode()) if runs else None,
            )
            units = Capture(self._store, self._digests, place, traces, by_place, compiled).units()
            merged = kept.merge(before, units)
            self._store.save_unit_set(merged)
            machine = shared.machine_of(found.target_dir, found.root, env, known.config, self._digests)
            entries = [trace.entry.key for trace in traces.values()]
            shared.queue(self._store, merged, intent_.kind, machine, (env, known.config), entries)
            count += len(units)
        return count
