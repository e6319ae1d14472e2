"""What client and service say to each other, as JSON; bytes are base64. Pure.

Every field has a bound that is checked when it is read: whoever may talk to the service may still be wrong or hostile.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import astuple

from kache.core.usage import BuildRecord, Intent, PlanScore, UnitUse
from kache.planner.closure import Changes
from kache.planner.plan import Budget, PlannedUnit, PlanRequest, PrefetchPlan

SCHEMA = 1
"""Raised when a field is removed or changes its meaning; new fields may appear at any time."""
MAX_UNITS = 50_000
MAX_PACKAGES = 20_000
MAX_NUMBER = 1 << 53
"""What every reader of JSON can hold."""

Digest32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Digest32OrNone = Annotated[bytes, Meta(max_length=32)]
Short = Annotated[bytes, Meta(max_length=8)]
Id8 = Annotated[bytes, Meta(min_length=8, max_length=8)]
Name = Annotated[str, Meta(max_length=200)]
Text = Annotated[str, Meta(max_length=400)]
Count = Annotated[int, Meta(ge=0, le=MAX_NUMBER)]
Version = Annotated[int, Meta(ge=SCHEMA, le=SCHEMA)]


class WireIntent(Struct, frozen=True):
    """See `kache.core.usage.Intent`."""

    workspace: Digest32
    label: Name = ""
    lockfile: Digest32OrNone = b""
    toolchain: Digest32OrNone = b""
    target: Name = ""
    profile: Name = "dev"
    features: Annotated[tuple[Name, ...], Meta(max_length=1_000)] = ()
    command: Name = "build"
    takes_all: bool = False
    job: Name = ""
    branch: Name = ""


class WireBudget(Struct, frozen=True):
    """See `kache.planner.plan.Budget`."""

    size_bytes: Count = 4 << 30
    keys: Annotated[int, Meta(ge=0, le=MAX_UNITS)] = 20_000
    seconds: Annotated[float, Meta(ge=0, le=86_400)] = 600.0


class Source(Struct, frozen=True):
    """A group of sources and its digest."""

    group: Id8
    digest: Id8


class PlanQuestion(Struct, frozen=True):
    """Body of POST /v1/prefetch-plan."""

    intent: WireIntent
    schema: Version = SCHEMA
    packages: Annotated[tuple[Id8, ...], Meta(max_length=MAX_PACKAGES)] | None = None
    sources: Annotated[tuple[Source, ...], Meta(max_length=MAX_PACKAGES)] | None = None
    name: Name = ""
    budget: WireBudget = WireBudget()


class PlanAnswer(Struct, frozen=True):
    """Its answer.

    Attributes:
        units: in this order.
        left_out: how many known units were not wanted, by cause.
        builds: that the plan was made from.
    """

    units: Annotated[tuple[PlannedUnit, ...], Meta(max_length=MAX_UNITS)] = ()
    left_out: dict[str, int] = {}
    builds: int = 0
    schema: int = SCHEMA


class WireUnit(Struct, frozen=True):
    """See `kache.core.usage.UnitUse`."""

    key: Digest32
    crate_name: Name
    unit_kind: Name
    package: Text = ""
    origin: Short = b""
    source: Short = b""
    unit_hash: Short = b""
    compile_ms: Count = 0
    size_bytes: Count = 0
    need_ms: Count = 0
    outcome: Name = ""
    waits: Annotated[tuple[Count, ...], Meta(max_length=2_000)] = ()


class WireScore(Struct, frozen=True):
    """See `kache.core.usage.PlanScore`."""

    planned: Count = 0
    planned_bytes: Count = 0
    fetched: Count = 0
    fetched_bytes: Count = 0
    used: Count = 0
    used_bytes: Count = 0
    needed: Count = 0
    needed_bytes: Count = 0
    late: Count = 0
    saved_ms: Count = 0
    wasted_ms: Count = 0
    by_reason: Annotated[tuple[tuple[Name, Count, Count], ...], Meta(max_length=20)] = ()


class BuildReport(Struct, frozen=True):
    """Body of POST /v1/builds: see `kache.core.usage.BuildRecord`."""

    id: Digest32
    intent: WireIntent
    units: Annotated[tuple[WireUnit, ...], Meta(max_length=MAX_UNITS)]
    schema: Version = SCHEMA
    at_s: Count = 0
    took_ms: Count = 0
    is_whole: bool = False
    name: Name = ""
    score: WireScore | None = None


class Problem(Struct, frozen=True):
    """Body of every answer that is none: what, why, fix."""

    error: str
    what: str
    why: str = ""
    fix: str = ""


_question = msgspec.json.Decoder(PlanQuestion)
_report = msgspec.json.Decoder(BuildReport)
_answer = msgspec.json.Decoder(PlanAnswer)
_encode = msgspec.json.Encoder().encode


def encode_question(request: PlanRequest, budget: Budget) -> bytes:
    """A question as JSON."""
    changes = request.changes
    sources = None if changes.sources is None else tuple(Source(*pair) for pair in sorted(changes.sources.items()))
    return _encode(
        PlanQuestion(
            intent=WireIntent(*astuple(request.intent)),
            packages=None if changes.packages is None else tuple(sorted(changes.packages)),
            sources=sources,
            name=request.name,
            budget=WireBudget(budget.size_bytes, budget.keys, budget.seconds),
        )
    )


def decode_question(body: bytes) -> tuple[PlanRequest, Budget]:
    """A question read back.

    Raises:
        msgspec.MsgspecError: it is none, or beyond a bound.
    """
    asked = _question.decode(body)
    packages = None if asked.packages is None else frozenset(asked.packages)
    sources = None if asked.sources is None else {source.group: source.digest for source in asked.sources}
    request = PlanRequest(Intent(*astuple(asked.intent)), Changes(packages, sources), asked.name)
    return request, Budget(asked.budget.size_bytes, asked.budget.keys, asked.budget.seconds)


def encode_answer(made: PrefetchPlan, builds: int) -> bytes:
    """A plan as JSON."""
    return _encode(PlanAnswer(made.units, dict(made.left_out), builds))


def decode_answer(body: bytes) -> PlanAnswer:
    """A plan read back.

    Raises:
        msgspec.MsgspecError: it is none.
    """
    return _answer.decode(body)


def encode_report(record: BuildRecord) -> bytes:
    """A build as JSON."""
    return _encode(
        BuildReport(
            id=record.id,
            intent=WireIntent(*astuple(record.intent)),
            units=tuple(WireUnit(*astuple(unit)) for unit in record.units),
            at_s=record.at_s,
            took_ms=record.took_ms,
            is_whole=record.is_whole,
            name=record.name,
            score=None if record.score is None else WireScore(*astuple(record.score)),
        )
    )


def decode_report(body: bytes) -> BuildRecord:
    """A build read back.

    Raises:
        msgspec.MsgspecError: it is none, beyond a bound, or waits for a unit that it does not have.
    """
    told = _report.decode(body)
    count = len(told.units)
    if any(at >= count for unit in told.units for at in unit.waits):
        raise msgspec.ValidationError("a unit waits for one that is not in `units`")
    return BuildRecord(
        id=told.id,
        intent=Intent(*astuple(told.intent)),
        at_s=told.at_s,
        took_ms=told.took_ms,
        is_whole=told.is_whole,
        units=tuple(UnitUse(*astuple(unit)) for unit in told.units),
        name=told.name,
        score=None if told.score is None else PlanScore(*astuple(told.score)),
    )
