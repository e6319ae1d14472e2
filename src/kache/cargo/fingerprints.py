"""cargo's fingerprint directories: which units a profile directory holds, and what each depends on.

Seen with cargo 1.95: `<profile>/.fingerprint/<package>-<hash>/` has, for each unit, `<stem>` (the unit's hash as 16
hexadecimal digits, little-endian), `<stem>.json` (what the hash is made of), `dep-<stem>` and maybe `output-<stem>`.
Source: cargo `core/compiler/fingerprint/mod.rs`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

FINGERPRINTS = b".fingerprint"
RUN_PREFIX = "run-build-script-"
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class FoundUnit:
    """A unit of a profile directory.

    Attributes:
        directory: name of its fingerprint directory.
        stem: as in `core.unit.Unit`.
        fingerprint: its hash.
        deps: the hashes of what it depends on.
        watched: paths of `rerun-if-changed`, as cargo keeps them; None for a unit that has none.
        asked: variables of `rerun-if-env-changed`.
    """

    directory: bytes
    stem: str
    fingerprint: str
    deps: tuple[str, ...]
    watched: tuple[str, ...] | None
    asked: tuple[str, ...] = ()

    @property
    def hash(self) -> bytes:
        """The hash in the directory's name; also in the names of what the unit makes."""
        return self.directory.rpartition(b"-")[2]

    @property
    def is_run(self) -> bool:
        """It is the run of a build script."""
        return self.stem.startswith(RUN_PREFIX)


def units(profile_dir: bytes) -> Iterator[FoundUnit]:
    """The units that cargo has finished in a profile directory; what cannot be read is left out."""
    base = os.path.join(profile_dir, FINGERPRINTS)
    try:
        directories = sorted(os.listdir(base))
    except OSError:
        return
    for directory in directories:
        path = os.path.join(base, directory)
        try:
            names = os.listdir(path)
        except OSError:
            continue
        for name in names:
            if name.endswith(b".json"):
                unit = _unit(path, directory, name.removesuffix(b".json"))
                if unit is not None:
                    yield unit


def _unit(path: bytes, directory: bytes, stem: bytes) -> FoundUnit | None:
    try:
        with open(os.path.join(path, stem), "rb") as file:
            fingerprint = file.read(_HASH_DIGITS + 1).decode("ascii")
        with open(os.path.join(path, stem + b".json"), "rb") as file:
            facts = msgspec.json.decode(file.read())
        deps = tuple(int(dep[3]).to_bytes(8, "little").hex() for dep in facts["deps"])
        watched = _watched(facts["local"])
        asked = tuple(item["RerunIfEnvChanged"]["var"] for item in facts["local"] if "RerunIfEnvChanged" in item)
    except (OSError, ValueError, KeyError, IndexError, TypeError, UnicodeError, OverflowError, msgspec.MsgspecError):
        return None
    if len(fingerprint) != _HASH_DIGITS:
        return None
    return FoundUnit(directory, os.fsdecode(stem), fingerprint, deps, watched, asked)


def _watched(local: list[dict[str, Any]]) -> tuple[str, ...] | None:
    found = [item["RerunIfChanged"] for item in local if "RerunIfChanged" in item]
    return tuple(str(path) for item in found for path in item["paths"]) if found else None
