"""Which units of a workspace are kept from build to build, and which of them a coming build may want."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence

from msgspec.structs import replace

from kache.config.load import Config
from kache.core.digest import Digest, hash_parts
from kache.core.unit import Unit, UnitSet

KEPT_BUILDS = 32
"""A unit that so many builds in a row did not have is forgotten: a flag of last week, a dependency of then."""
VERSIONS = 3
"""Of a unit whose sources changed: branches that take turns."""
MAX_UNITS = 6_000
_PROGRAMS = ("bin-", "example-", "test-", "bench-")
_REGISTRY = b"<cargo-home>/registry/"
_PACKAGE = re.compile(rb'^name = "([^"]+)"\nversion = "([^"]+)"', re.MULTILINE)


def filed_under(toolchain: Digest, config: Config) -> Digest:
    """What the sets of builds are filed under, beside workspace and profile: lent to nobody with other settings. Pure.

    Without `remap` artifacts hold other paths; without `observe` less is known of what was read; who has scripts'
    declarations believed has runs that nobody else wants.

    Args:
        toolchain: identity of the compiler.
        config: of the workspace.
    """
    parts = [config.key_salt] if config.key_salt else []
    parts += [] if config.remap else ["paths as they are"]
    parts += [] if config.base_dir is None else ["paths below a directory"]
    parts += [] if config.observe else ["not observed"]
    parts += [] if config.warm_start_scripts == "packages" else [config.warm_start_scripts]
    return hash_parts([toolchain, *(part.encode() for part in parts)]) if parts else toolchain


def merge(before: UnitSet, left: Iterable[Unit]) -> UnitSet:
    """The set after one more build. Pure.

    Args:
        before: the set until now.
        left: what the build left, units of earlier builds that it found fresh included.
    """
    number = before.builds + 1
    units = {unit.place + unit.version: replace(unit, build=number) for unit in left}
    for unit in before.units:
        newer = units.get(unit.place + unit.version)
        if newer is not None:
            units[unit.place + unit.version] = replace(newer, asked_by=_union(newer.asked_by, unit.asked_by))
        elif number - unit.build < KEPT_BUILDS:
            units[unit.place + unit.version] = unit
    versions: dict[tuple[str, str], int] = {}
    kept = []
    for unit in sorted(units.values(), key=lambda unit: -unit.build):
        versions[unit.place] = versions.get(unit.place, 0) + 1
        if versions[unit.place] <= VERSIONS:
            kept.append(unit)
    return replace(before, units=tuple(kept[:MAX_UNITS]), builds=number)


def _union(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*first, *second)))


class LockFile:
    """The packages a workspace has, by its lock file.

    Args:
        root: the workspace's; without a lock file it may have any.
    """

    def __init__(self, root: bytes) -> None:
        try:
            with open(os.path.join(root, b"Cargo.lock"), "rb") as file:
                found = _PACKAGE.findall(file.read().replace(b"\r\n", b"\n"))
        except OSError:
            found = []
        self._packages = {name + b"-" + version for name, version in found}
        self._names = {name for name, _ in found}

    def has(self, unit: Unit) -> bool:
        """Whether a unit's package is among them."""
        if not self._names:
            return True
        if unit.cwd.startswith(_REGISTRY):
            return os.path.basename(unit.cwd) in self._packages
        return package_of(unit) in self._names

    def is_more_than(self, units: Iterable[Unit]) -> bool:
        """Whether some of them have no unit."""
        return not self._names <= {package_of(unit) for unit in units}


def wanted_by(intent: str, units: Iterable[Unit]) -> Iterator[Unit]:
    """The units, less programs that commands of this kind never asked for: those are copies, made by hits if need be.

    Pure.
    """
    for unit in units:
        is_program = unit.stem.startswith(_PROGRAMS) and any(file.executable and file.digest for file in unit.files)
        if intent in unit.asked_by or not is_program:
            yield unit


def package_of(unit: Unit) -> bytes:
    """Name of a unit's package: of its fingerprint directory, less the hash."""
    return os.fsencode(os.path.basename(unit.directory).rpartition("-")[0])


def shared_with(own: Sequence[Unit], others: Iterable[Unit]) -> list[Unit]:
    """Units of other workspaces' dependencies, of packages that none of the own units is of. Pure."""
    known = {unit.cwd for unit in own}
    return [unit for unit in others if not (unit.is_path or unit.tied_to or unit.cwd in known)]
