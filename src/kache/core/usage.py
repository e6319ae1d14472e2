"""What builds used: the intent of a build, its units in order of first need, and how good its plan was.

msgspec structs that encode as arrays (msgpack): fields may be appended with a default, never moved or removed. They
are kept locally and, where a remote or a planner is configured, leave the machine (docs/how-to/planner.md says what
that is): no source text, no absolute path, no value of a variable but the names of branch and job.
"""

from __future__ import annotations

import msgspec

from kache.core.digest import Digest

ORIGIN_BYTES = 8
"""Of ids and digests that tell apart, and protect nothing."""
HOST_KINDS = ("build-script", "proc-macro")


class Intent(msgspec.Struct, frozen=True, array_like=True):
    """What a build is about to do.

    Attributes:
        workspace: identity of the workspace, the same in every checkout of it.
        label: name of its root package or first member, for people.
        lockfile: digest of Cargo.lock; empty where there is none.
        toolchain: identity of the compiler; empty while it is not known.
        target: triple as typed; empty for the host.
        profile: cargo's name of it.
        features: chosen features and packages, sorted: `+name`, `+*` (all), `-*` (no default ones), `@package`.
        command: `build`, `test` or `check`; empty for any.
        takes_all: flags chose targets: tests, benches, examples or all.
        job: name of the CI job; empty elsewhere.
        branch: name of the branch; empty if it is not known.
    """

    workspace: Digest
    label: str = ""
    lockfile: Digest = b""
    toolchain: Digest = b""
    target: str = ""
    profile: str = "dev"
    features: tuple[str, ...] = ()
    command: str = "build"
    takes_all: bool = False
    job: str = ""
    branch: str = ""


class UnitUse(msgspec.Struct, frozen=True, array_like=True):
    """One unit that a build used.

    Attributes:
        key: cache key of its entry.
        crate_name, unit_kind: as in the entry.
        package: name and version.
        origin: of a registry or git package an id of its row in the lockfile; else the id of its sources' group.
        source: digest of that group as it was; empty for a package of the lockfile.
        unit_hash: cargo's hash of it, from its file names; empty where they have none.
        compile_ms: wall time of its compile.
        size_bytes: of its outputs.
        need_ms: when it was asked for, from the build's first call on.
        outcome: how the call ended.
        waits: positions, in the build's list, of the units it was compiled or linked against.
    """

    key: Digest
    crate_name: str
    unit_kind: str
    package: str
    origin: bytes
    source: bytes
    unit_hash: bytes
    compile_ms: int
    size_bytes: int
    need_ms: int
    outcome: str
    waits: tuple[int, ...] = ()


class PlanScore(msgspec.Struct, frozen=True, array_like=True):
    """How good a plan was, once its build has ended.

    Attributes:
        planned, fetched, used: units of the plan; brought by it; brought and then used.
        planned_bytes, fetched_bytes, used_bytes: of their outputs.
        needed, needed_bytes: what the build used and this machine did not have before.
        late: units that the plan named and the build had to wait for or to compile.
        saved_ms: compile time of what was used.
        wasted_ms: what bringing the unused rest took.
        by_reason: for each reason of the plan: its name, bytes brought, bytes used.
    """

    planned: int = 0
    planned_bytes: int = 0
    fetched: int = 0
    fetched_bytes: int = 0
    used: int = 0
    used_bytes: int = 0
    needed: int = 0
    needed_bytes: int = 0
    late: int = 0
    saved_ms: int = 0
    wasted_ms: int = 0
    by_reason: tuple[tuple[str, int, int], ...] = ()

    @property
    def precision(self) -> float | None:
        """Bytes used by bytes brought; None if nothing was brought."""
        return self.used_bytes / self.fetched_bytes if self.fetched_bytes else None

    @property
    def recall(self) -> float | None:
        """Bytes used by bytes needed; None if nothing was needed."""
        return min(self.used_bytes / self.needed_bytes, 1.0) if self.needed_bytes else None


class BuildRecord(msgspec.Struct, frozen=True, array_like=True):
    """One build that ended.

    Attributes:
        id: digest of its intent and its keys: the same build made twice has one record.
        intent: what it was.
        at_s: when it began, by its machine's clock, s since the Unix epoch.
        took_ms: from its first call to its last.
        is_whole: every unit that another was compiled against is in it: its target was empty before.
        units: in order of first need.
        name: what `kache save-manifest` called it; empty for the rest.
        score: of the plan that was made for it; None where there was none.
    """

    id: Digest
    intent: Intent
    at_s: int
    took_ms: int
    is_whole: bool
    units: tuple[UnitUse, ...]
    name: str = ""
    score: PlanScore | None = None
