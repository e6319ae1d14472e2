"""Warm start as the engine sees it: seed a fresh target at cargo's first question, capture when cargo has ended."""

from __future__ import annotations

import logging
import os
from collections import OrderedDict, deque
from collections.abc import Mapping

from kache.cargo import intent, workspace
from kache.cargo.workspace import Workspace
from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc.toolchain import Toolchain
from kache.core.digest import hash_parts
from kache.core.unit import Unit, UnitSet
from kache.engine.builds import Build
from kache.engine.warm_start import host
from kache.engine.warm_start.capture import Capture, Place
from kache.engine.warm_start.place import Checkout, Placed, Placer, is_virgin, roots_of
from kache.engine.warm_start.traces import Traces
from kache.store.local import LocalStore

log = logging.getLogger("kache")
MAX_BYTES = 8 << 30
"""Of blobs placed at one time; sets beyond it wait for hits."""
CLOCK_GRAIN_NS = 10_000_000
"""Coarsest grain of file dates on Linux (HZ=100)."""
_REMEMBERED = 64


class WarmStart:
    """Seeds and captures.

    Args:
        store: where sets, memos and blobs are.
        digests: the stat memo.
        traces: what builds under way compiled.
    """

    def __init__(self, store: LocalStore, digests: FileDigests, traces: Traces) -> None:
        self._store = store
        self._digests = digests
        self._traces = traces
        self._seeded: deque[str] = deque(maxlen=_REMEMBERED)
        self._workspaces: OrderedDict[str, tuple[Workspace | None, dict[bytes, bytes], str]] = OrderedDict()

    def note(self, build: Build, env: Mapping[bytes, bytes], salt: str) -> Workspace | None:
        """Find out which workspace a build is of; asked once a build."""
        known = self._workspaces.get(build.id)
        if known is None:
            wanted = intent.read(build.argv) if build.argv else None
            found = workspace.find(wanted, build.cwd, env) if wanted is not None else None
            if found is not None:  # caches with different salts share nothing
                salted = hash_parts([found.identity, salt.encode()])
                found = Workspace(found.root, found.target_dir, salted)
            known = self._workspaces[build.id] = (found, dict(env), salt)
            if len(self._workspaces) > _REMEMBERED:
                self._workspaces.popitem(last=False)
        return known[0]

    def seed(
        self, build: Build, env: Mapping[bytes, bytes], umask: int, toolchain: Toolchain, now_ns: int
    ) -> Placed | None:
        """Put what fits into a build's target directory, if cargo has never built there.

        Args:
            build: cargo's command.
            env: its environment.
            umask: its umask.
            toolchain: the compiler it asked.
            now_ns: the filesystem's clock.

        Returns:
            What was placed; None where nothing was tried.
        """
        found, _, salt = self._workspaces.get(build.id, (None, {}, ""))
        # cargo asks `-vV` twice before it writes what tells a target it has built in.
        if found is None or build.id in self._seeded or not is_virgin(found.target_dir):
            return None
        self._seeded.append(build.id)
        sets = self._store.unit_sets(found.identity, toolchain.identity)
        if not sets:
            return None
        checkout = Checkout(
            roots=roots_of(found.root, found.target_dir, env, toolchain.sysroot),
            env=env,
            salt=salt.encode(),
            target_dir=found.target_dir,
            umask=umask,
            host=host.identity(env, self._digests),
            date_ns=now_ns - CLOCK_GRAIN_NS,
        )
        placer = Placer(self._store, self._digests, checkout)
        left_bytes = MAX_BYTES
        for unit_set in sets:
            left_bytes -= sum(file.size for unit in unit_set.units for file in unit.files)
            if left_bytes < 0:
                break
            placer.place(unit_set)
        log.info("warm start of %s: %d units", os.fsdecode(found.root), len(placer.placed.units))
        return placer.placed

    def capture(self, build_id: str) -> int:
        """Keep what a build that ended left.

        Returns:
            The number of units kept.
        """
        by_profile = self._traces.take(build_id)
        found, env, _ = self._workspaces.pop(build_id, (None, {}, ""))
        if found is None:
            return 0
        count = 0
        for directory, traces in by_profile.items():
            profile = os.path.relpath(directory, found.target_dir)
            if profile.startswith(b".."):
                continue
            toolchain = next(iter(traces.values())).toolchain
            before = self._before(found.identity, os.fsdecode(profile), toolchain)
            place = Place(found.target_dir, os.fsdecode(profile), host.identity(env, self._digests))
            units = Capture(self._store, self._digests, place, traces, before).units()
            self._store.save_unit_set(UnitSet(found.identity, place.profile, toolchain, units))
            count += len(units)
        return count

    def _before(self, identity: bytes, profile: str, toolchain: bytes) -> dict[tuple[str, str], Unit]:
        sets = self._store.unit_sets(identity, toolchain)
        return {(u.directory, u.stem): u for s in sets if s.profile == profile for u in s.units}
