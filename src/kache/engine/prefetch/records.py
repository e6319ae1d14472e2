"""From what was noted of a build to the units of its record."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from kache.cargo import lock_packages, source_groups
from kache.cargo.lock_packages import LockPackages
from kache.cargo.workspace import Workspace
from kache.core.digest import Digest, hash_bytes, hash_parts
from kache.core.entry import Entry, InputKind, MemoInput
from kache.core.outcome import Outcome
from kache.core.unit import Unit
from kache.core.usage import Intent, UnitUse
from kache.ipc.protocol import Request

_NAME = b"CARGO_PKG_NAME="
_VERSION = b"CARGO_PKG_VERSION="
_DIRECTORY = b"CARGO_MANIFEST_DIR="
_HASH_CHARS = 16
_CHECKOUT = b"<cwd>"
_encoder = msgspec.msgpack.Encoder()


class Use(NamedTuple):
    """One unit as its call had it.

    Attributes:
        key, crate_name, unit_kind, compile_ms: of its entry.
        size_bytes: of its outputs.
        stems: of their names.
        links: stems of what it was compiled or linked against.
        name, version, directory: of its package.
        source: root source as given, relative to where cargo runs rustc.
        outcome: how the call ended.
        need_s: when it came, from the build's first call on.
    """

    key: Digest
    crate_name: str
    unit_kind: str
    compile_ms: int
    size_bytes: int
    stems: frozenset[str]
    links: tuple[str, ...]
    name: str
    version: str
    directory: bytes
    source: bytes
    outcome: str
    need_s: float

    @classmethod
    def of(cls, request: Request, entry: Entry, outcome: str, need_s: float) -> Use:
        """Take it from a call and its entry."""
        name = version = directory = b""
        for pair in request.env:
            if pair.startswith(_NAME):
                name = pair[len(_NAME) :]
            elif pair.startswith(_VERSION):
                version = pair[len(_VERSION) :]
            elif pair.startswith(_DIRECTORY):
                directory = pair[len(_DIRECTORY) :]
        source = next((word for word in request.argv[1:] if word.endswith(b".rs") and word[:1] != b"-"), b"")
        return cls(
            entry.key,
            entry.crate_name,
            entry.unit_kind,
            entry.compile_ms,
            sum(artifact.size for artifact in entry.artifacts),
            frozenset(artifact.name.partition(".")[0] for artifact in entry.artifacts),
            entry.links,
            name.decode(errors="replace"),
            version.decode(errors="replace"),
            directory,
            os.path.join(request.cwd, source) if source else b"",
            outcome,
            need_s,
        )


class PlacedUnit(NamedTuple):
    """A unit that warm start has put into the target: no call tells of it.

    Attributes:
        unit: as it was placed.
        entry: of its compile.
        inputs: of that compile, the root source first of its files.
    """

    unit: Unit
    entry: Entry
    inputs: Sequence[MemoInput]


def units_of(
    place: Workspace, called: Mapping[Digest, Use], placed: Iterable[PlacedUnit] = ()
) -> tuple[tuple[UnitUse, ...], Digest, bool]:
    """The units of a record, the lockfile's digest, and whether every unit that another needs is among them."""
    lock = lock_packages.read(place.root)
    uses = {each.entry.key: _use_of(place, each, lock) for each in placed} | dict(called)
    groups = source_groups.digests(place.root, place.target_dir)
    ordered = sorted(uses.values(), key=lambda use: use.need_s)
    by_stem = {stem: at for at, use in enumerate(ordered) for stem in use.stems}
    scripts = {
        (use.name, use.version): at for at, use in enumerate(ordered) if use.unit_kind.startswith("build-script")
    }
    is_whole = True
    units = []
    for at, use in enumerate(ordered):
        waits = {by_stem[stem] for stem in use.links if stem in by_stem}
        is_whole = is_whole and all(stem in by_stem for stem in use.links)
        script = scripts.get((use.name, use.version), at)
        waits |= {script}
        waits.discard(at)
        origin, source = _origin(place, use, lock.ids, groups)
        units.append(
            UnitUse(
                key=use.key,
                crate_name=use.crate_name,
                unit_kind=use.unit_kind,
                package=f"{use.name} {use.version}",
                origin=origin,
                source=source,
                unit_hash=_hash_of(use.stems),
                compile_ms=use.compile_ms,
                size_bytes=use.size_bytes,
                need_ms=int(use.need_s * 1000),
                outcome=use.outcome,
                waits=tuple(sorted(waits)),
            )
        )
    return tuple(units), lock.digest, is_whole


def _use_of(place: Workspace, placed: PlacedUnit, lock: LockPackages) -> Use:
    """What the call would have told: of a package elsewhere, where it is unpacked says which version it is."""
    unit, entry = placed.unit, placed.entry
    name = os.path.basename(unit.directory).rpartition("-")[0]
    unpacked, known = os.path.basename(os.fsdecode(unit.cwd)), lock.versions.get(name, [])
    version = next((each for each in known if unpacked == f"{name}-{each}"), known[0] if len(known) == 1 else "")
    directory, source = unit.cwd, b""
    if unit.is_path and unit.cwd == _CHECKOUT:
        first = next((item.name for item in placed.inputs if item.kind == InputKind.FILE), b"")
        if first.startswith(_CHECKOUT + b"/"):
            source = os.path.join(place.root, first[len(_CHECKOUT) + 1 :])
            directory = _package_of(source, place.root)
    return Use(
        entry.key,
        entry.crate_name,
        entry.unit_kind,
        entry.compile_ms,
        sum(artifact.size for artifact in entry.artifacts),
        frozenset(artifact.name.partition(".")[0] for artifact in entry.artifacts),
        entry.links,
        name,
        version,
        directory,
        source,
        Outcome.SEEDED,
        0.0,
    )


def _package_of(source: bytes, root: bytes) -> bytes:
    """The nearest directory above a source with a Cargo.toml, within the workspace."""
    directory = os.path.dirname(source)
    while directory.startswith(root + b"/") and not os.path.exists(os.path.join(directory, b"Cargo.toml")):
        directory = os.path.dirname(directory)
    return directory


def _origin(
    place: Workspace, use: Use, packages: Mapping[tuple[str, str], bytes], groups: Mapping[bytes, bytes]
) -> tuple[bytes, bytes]:
    if not use.directory.startswith(place.root + b"/") and use.directory != place.root:
        # Elsewhere: of a registry, of git, or a path dependency that lies outside, of which nothing is known.
        return packages.get((use.name, use.version), b""), b""
    package = use.directory[len(place.root) :].lstrip(b"/")
    relative = os.path.relpath(use.source, use.directory) if use.source else b""
    group = source_groups.group_id(package, relative)
    return group, groups.get(group, b"")


def workspace_id(place: Workspace, salt: str) -> Digest:
    """The same in every checkout; caches with different salts share nothing."""
    return hash_parts([b"workspace", place.identity, salt.encode()])


def label_of(root: bytes) -> str:
    """What people may call a workspace: its root package, or its first member."""
    import tomllib

    try:
        with open(os.path.join(root, b"Cargo.toml"), "rb") as file:
            document = tomllib.load(file)
        package, members = document.get("package", {}), document.get("workspace", {}).get("members", [])
        name = package.get("name") or (members and f"workspace of {members[0]}") or ""
    except (OSError, ValueError, AttributeError, KeyError, TypeError):
        return ""
    return str(name)[:100]


def digest_of(intent: Intent, keys: Iterable[bytes]) -> Digest:
    """Id of a record: of what was built, where and from what, never of when."""
    return hash_parts([b"build", hash_bytes(_encoder.encode(intent)), *sorted(keys)])


def _hash_of(stems: Iterable[str]) -> bytes:
    for stem in sorted(stems):
        word = stem.rpartition("-")[2]
        if len(word) == _HASH_CHARS and not word.strip("0123456789abcdef"):
            return bytes.fromhex(word)
    return b""
