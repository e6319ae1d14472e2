"""Histories of builds made up: workspaces with packages, their versions, edits, jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kache.core.digest import hash_parts
from kache.core.usage import BuildRecord, Intent, UnitUse
from kache.planner.closure import Changes

TOOLCHAIN = hash_parts([b"toolchain"])


def digest(*words: object) -> bytes:
    """32 bytes that stand for something."""
    return hash_parts([str(word).encode() for word in words])


@dataclass(frozen=True)
class Crate:
    """A crate of a workspace that was made up.

    Attributes:
        name: of it.
        waits: names of the crates it depends on.
        version: of a package of the lockfile; of a member, what is in its sources.
        is_member: it is part of the workspace.
        kind: its unit's.
        size_bytes, compile_ms: of its unit.
    """

    name: str
    waits: tuple[str, ...] = ()
    version: str = "1"
    is_member: bool = False
    kind: str = "lib"
    size_bytes: int = 1 << 20
    compile_ms: int = 1_000


@dataclass(frozen=True)
class Tree:
    """A workspace at one commit: its crates, dependencies first."""

    crates: Mapping[str, Crate]
    name: str = "ours"
    intent: Intent = field(default_factory=lambda: Intent(workspace=digest("ours"), toolchain=TOOLCHAIN))

    @classmethod
    def of(cls, *crates: Crate, name: str = "ours", **intent: object) -> Tree:
        """Make one."""
        made = Intent(workspace=digest(name), toolchain=TOOLCHAIN, **intent)  # type: ignore[arg-type]
        return cls({crate.name: crate for crate in crates}, name, made)

    def bump(self, name: str, version: str) -> Tree:
        """The same with another version, or another text, of one crate."""
        return replace(self, crates={**self.crates, name: replace(self.crates[name], version=version)})

    def key(self, name: str) -> bytes:
        """Cache key of a unit: of its own content, and of all it waits for."""
        crate = self.crates[name]
        flags = (self.intent.profile, self.intent.features, self.intent.command == "check" and crate.kind == "lib")
        return digest(name, crate.version, crate.kind, *flags, *(self.key(other) for other in crate.waits))

    def origin(self, name: str) -> bytes:
        """Of its package, or its group of sources."""
        crate = self.crates[name]
        version = () if crate.is_member else (crate.version,)
        return digest("origin", name, self.name if crate.is_member else "", *version)[:8]

    @property
    def lockfile(self) -> bytes:
        """Its digest."""
        return digest(*(self.origin(name) for name, crate in self.crates.items() if not crate.is_member))

    @property
    def changes(self) -> Changes:
        """What a client says of it."""
        members = {name for name, crate in self.crates.items() if crate.is_member}
        return Changes(
            frozenset(self.origin(name) for name in self.crates if name not in members),
            {self.origin(name): digest(self.crates[name].version)[:8] for name in members},
        )

    @property
    def today(self) -> Intent:
        """What is about to be built."""
        import msgspec

        return msgspec.structs.replace(self.intent, lockfile=self.lockfile)

    def record(self, *, only: Sequence[str] = (), **more: object) -> BuildRecord:
        """What a build of it leaves."""
        names = [name for name in self.crates if not only or name in only]
        units = tuple(
            UnitUse(
                key=self.key(name),
                crate_name=name,
                unit_kind=crate.kind,
                package=f"{name} {crate.version}",
                origin=self.origin(name),
                source=digest(crate.version)[:8] if crate.is_member else b"",
                unit_hash=digest("unit", name)[:8],
                compile_ms=crate.compile_ms,
                size_bytes=crate.size_bytes,
                need_ms=number * 300,
                outcome="miss",
                waits=tuple(names.index(other) for other in crate.waits if other in names),
            )
            for number, (name, crate) in enumerate((name, self.crates[name]) for name in names)
        )
        made = BuildRecord(digest(self.today, names), self.today, 1_700_000_000, 9_000, not only, units)
        import msgspec

        return msgspec.structs.replace(made, **more)
