"""What of a workspace's unit sets other machines may have, and what this one may want of theirs."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from kache.compilers.file_digests import FileDigests
from kache.config.load import Config
from kache.core.digest import Digest, hash_bytes, hash_parts
from kache.core.unit import SharedSet, Unit, UnitSet
from kache.engine.transfer import policy
from kache.engine.warm_start import host, kept
from kache.engine.warm_start.place import in_order
from kache.engine.warm_start.places import cargo_home_of
from kache.engine.warm_start.portable import Machine, portable
from kache.store.local import LocalStore

log = logging.getLogger("kache")
_VERSIONS = 2
"""Of a unit of the checkout: two branches."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a build may want of a remote.

    Attributes:
        workspace: its identity.
        root: its directory.
        toolchain: what the sets are filed under, see `kept.filed_under`.
        profiles: that the build makes.
        intent: its kind.
        lock: digest of its lock file.
        lock_file: the packages in it.
        machine: this one.
    """

    workspace: Digest
    root: bytes
    toolchain: Digest
    profiles: tuple[str, ...]
    intent: str
    lock: Digest
    lock_file: kept.LockFile
    machine: Machine


def machine_of(
    target_dir: bytes, root: bytes, env: Mapping[bytes, bytes], config: Config, digests: FileDigests
) -> Machine:
    """This machine, as units are compared with it."""
    return Machine(
        target_dir,
        root,
        cargo_home_of(env),
        env.get(b"HOME", b"").rstrip(b"/"),
        host.identity(env, digests),
        host.steering(env),
        config.trust_domain,
    )


def lock_of(root: bytes) -> Digest:
    """Digest of a workspace's lock file; empty without one."""
    try:
        with open(os.path.join(root, b"Cargo.lock"), "rb") as file:
            return hash_bytes(file.read().replace(b"\r\n", b"\n"))
    except OSError:
        return b""


def queue(
    store: LocalStore,
    unit_set: UnitSet,
    intent: str,
    machine: Machine,
    surroundings: tuple[Mapping[bytes, bytes], Config],
    compiled: Iterable[Digest],
) -> bool:
    """Have what of a captured set may leave sent to the configuration's remote.

    Args:
        store: where it waits.
        unit_set: what the builds of a profile directory left.
        intent: kind of the build that has just ended.
        machine: this one.
        surroundings: cargo's environment, and the configuration.
        compiled: entries that this build made or was served, in their order.

    Returns:
        Whether something waits now: nothing does where nothing may be sent, or that was sent before.
    """
    env, config = surroundings
    if config.remote is None:
        return False
    place = policy.sent_to(config, policy.relevant(name + b"=" + value for name, value in env.items()))
    if place is None:
        return False
    lock_file = kept.LockFile(machine.root)
    wanted = [unit for unit in kept.wanted_by(intent, unit_set.units) if lock_file.has(unit)]
    left = list(in_order(_newest(wanted)))
    units = tuple(whole(portable((unit for unit in left if not unit.is_open), machine)))
    keys = tuple(dict.fromkeys((*(unit.entry_key for unit in left if unit.entry_key), *compiled)))
    if not keys:
        return False
    described = unit_set.workspace, unit_set.profile, unit_set.toolchain, lock_of(machine.root), intent
    shared = SharedSet(*described, units, keys)
    subject = hash_parts(
        [
            unit_set.workspace,
            unit_set.profile.encode(),
            unit_set.toolchain,
            intent.encode(),
            config.trust_domain.encode(),
        ]
    )
    said = tuple(msgspec.structs.replace(unit, asked_by=()) for unit in units)
    digest = hash_parts([shared.lock, msgspec.msgpack.encode((said, keys))])
    return store.unit_uploads.add(str(place), subject, digest, msgspec.msgpack.encode(shared))


def _newest(units: Iterable[Unit]) -> list[Unit]:
    """Of each unit the versions used last, which are the likeliest."""
    count: dict[tuple[str, str], int] = {}
    found = []
    for unit in units:
        count[unit.place] = count.get(unit.place, 0) + 1
        if count[unit.place] <= (_VERSIONS if unit.is_path else 1):
            found.append(unit)
    return found


def whole(units: Iterable[Unit]) -> list[Unit]:
    """Those that stand on nothing that is missing; dependencies come first. Pure."""
    found: list[Unit] = []
    done: set[str] = set()
    for unit in units:
        if all(dep in done for dep in unit.deps):
            found.append(unit)
            done.add(unit.fingerprint)
    return found


def placeable(units: Iterable[Unit], wanted: Wanted, changed: set[str]) -> list[Unit]:
    """Those that may be placed here, as far as it is known before anything of them was fetched. Pure.

    Args:
        units: made this machine's by `portable.at_home`, dependencies first.
        wanted: by whom.
        changed: fingerprint and key, joined, of units whose sources are others here.
    """
    here = wanted.machine
    fitting = (
        unit
        for unit in units
        if (not unit.cargo_home or unit.cargo_home == here.cargo_home)
        and (not unit.host or unit.host == here.host)
        and unit.steering == here.steering
        and not unit.is_open
        and mark_of(unit) not in changed
    )
    return whole(fitting)


def mark_of(unit: Unit) -> str:
    """What tells versions of a unit apart."""
    return f"{unit.fingerprint}-{unit.entry_key.hex()}"


def wanted_of(
    store: LocalStore,
    digests: FileDigests,
    known: tuple[bytes, bytes, Digest, tuple[str, ...], str],
    surroundings: tuple[Mapping[bytes, bytes], Config, Digest],
) -> Wanted | None:
    """What a build may want of a remote; None if the store has a unit of every package of its lock file.

    Args:
        store: what is here.
        digests: the stat memo.
        known: root, target dir and identity of the workspace, the profiles and kind of the build.
        surroundings: cargo's environment, the configuration, what the sets are filed under.
    """
    root, target_dir, identity, profiles, intent = known
    env, config, toolchain = surroundings
    lock_file = kept.LockFile(root)
    sets = [store.unit_set(identity, profile, toolchain) for profile in profiles]
    own = [unit for each in sets for unit in each.units]
    if own and not lock_file.is_more_than(unit for unit in own if lock_file.has(unit)):
        return None
    machine = machine_of(target_dir, root, env, config, digests)
    return Wanted(identity, root, toolchain, profiles, intent, lock_of(root), lock_file, machine)
