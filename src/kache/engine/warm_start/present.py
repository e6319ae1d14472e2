"""What a profile directory holds already: nothing where cargo has never built."""

from __future__ import annotations

import os
from collections.abc import Iterator

from kache.cargo import fingerprints
from kache.cargo.fingerprints import FoundUnit


class Present:
    """The units of a profile directory.

    Args:
        directory: it, absolute.

    Attributes:
        units: by cargo's hash.
    """

    def __init__(self, directory: bytes) -> None:
        self._directory = directory
        found = list(fingerprints.units(directory))
        self.units = {unit.fingerprint: unit for unit in found}

    def places(self) -> Iterator[tuple[bytes, str]]:
        """Fingerprint directory and stem of each."""
        return ((unit.directory, unit.stem) for unit in self.units.values())

    def dates(self) -> dict[str, int]:
        """Cargo's date of each, ns: that of its newest output."""
        if not self.units:
            return {}
        outputs: dict[bytes, int] = {}
        for folder in (b"deps", b"examples"):
            for name, date_ns in _dated(os.path.join(self._directory, folder)):
                if not name.endswith(b".d"):
                    unit_hash = name.rpartition(b"-")[2].partition(b".")[0]
                    outputs[unit_hash] = max(outputs.get(unit_hash, 0), date_ns)
        return {each: outputs.get(unit.hash) or self._own_date(unit) for each, unit in self.units.items()}

    def _own_date(self, unit: FoundUnit) -> int:
        """Of a build script or its run, which have a directory of their own."""
        found = dict(_dated(os.path.join(self._directory, b"build", unit.directory)))
        return max(found.values(), default=0)


def needed_in(target_dir: bytes) -> frozenset[str]:
    """Hashes of what the units of all profiles depend on: those for a target depend on some for this machine."""
    profiles = [each.path for each in _directories(target_dir)]
    profiles += [each.path for profile in profiles for each in _directories(profile)]
    return frozenset(dep for profile in profiles for unit in fingerprints.units(profile) for dep in unit.deps)


def _directories(directory: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(directory) as found:
            return [each for each in found if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _dated(directory: bytes) -> Iterator[tuple[bytes, int]]:
    try:
        with os.scandir(directory) as found:
            for each in found:
                if each.is_file(follow_symlinks=False):
                    yield each.name, each.stat(follow_symlinks=False).st_mtime_ns
    except OSError:
        return
