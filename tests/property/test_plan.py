"""What holds of every plan, whatever the history says."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kache.core.usage import BuildRecord, Intent, UnitUse
from kache.planner import scoring
from kache.planner.closure import Changes, state_of_all
from kache.planner.knowledge import MAX_OF_SHAPE, MAX_RECORDS, Knowledge
from kache.planner.plan import Budget, PlanRequest, Tariff, plan
from tests.support.histories import digest

small = st.integers(0, 5)
intents = st.builds(
    Intent,
    workspace=small.map(lambda n: digest("w", n % 3)),
    lockfile=small.map(lambda n: digest("lock", n)),
    toolchain=small.map(lambda n: digest("t", n % 2)),
    target=st.sampled_from(["", "wasm32-unknown-unknown"]),
    profile=st.sampled_from(["dev", "release"]),
    features=st.sampled_from([(), ("+a",)]),
    command=st.sampled_from(["build", "check", "test", ""]),
    takes_all=st.booleans(),
    job=st.sampled_from(["", "linux"]),
    branch=st.sampled_from(["", "main"]),
)


@st.composite
def uses(draw: st.DrawFn, count: int) -> UnitUse:
    """A unit, waiting for any others: also such that nobody could have built."""
    number = draw(st.integers(0, 30))
    return UnitUse(
        key=digest("key", number, draw(st.integers(0, 2))),
        crate_name=f"crate{number}",
        unit_kind=draw(st.sampled_from(["lib", "proc-macro", "build-script", "bin", "test", "lib-check"])),
        package=f"crate{number} 1",
        origin=draw(st.sampled_from([b"", digest("o", number)[:8]])),
        source=draw(st.sampled_from([b"", b"12345678"])),
        unit_hash=b"",
        compile_ms=draw(st.integers(0, 50_000)),
        size_bytes=draw(st.integers(0, 1 << 30)),
        need_ms=draw(st.integers(0, 100_000)),
        outcome="miss",
        waits=tuple(draw(st.lists(st.integers(0, count - 1), max_size=3))),
    )


@st.composite
def records(draw: st.DrawFn) -> BuildRecord:
    count = draw(st.integers(1, 8))
    units = tuple(draw(uses(count)) for _ in range(count))
    number = draw(st.integers(0, 100))
    return BuildRecord(digest("r", number), draw(intents), draw(st.integers(0, 1 << 40)), 0, draw(st.booleans()), units)


histories = st.lists(records(), max_size=12)
sources = st.one_of(st.none(), st.dictionaries(small.map(lambda n: digest("o", n)[:8]), st.just(b"12345678")))
packages = st.one_of(st.none(), st.frozensets(small.map(lambda n: digest("o", n)[:8])))
requests = st.builds(PlanRequest, intents, st.builds(Changes, packages, sources))
budgets = st.builds(Budget, st.integers(0, 1 << 31), st.integers(0, 20), st.floats(0, 100))
tariffs = st.builds(Tariff, st.floats(0, 1), st.integers(0, 32), st.floats(0, 1e9), st.floats(0, 1))


@settings(max_examples=150, deadline=None)
@given(histories, requests, budgets, tariffs)
def test_a_plan_stays_within_its_budget_and_names_only_what_was_built(
    history: list[BuildRecord], request: PlanRequest, budget: Budget, tariff: Tariff
) -> None:
    known = Knowledge(history)
    made = plan(request, known, budget, tariff)
    keys = [unit.key for unit in made.units]
    assert len(keys) == len(set(keys)) <= budget.keys
    assert made.size_bytes <= budget.size_bytes
    assert sum(tariff.fetch_s(unit.size_bytes) for unit in made.units) <= budget.seconds + 1e-6
    assert set(keys) <= {unit.key for record in history for unit in record.units}
    for unit in made.units:
        assert 0 < unit.confidence <= 1 and tariff.fetch_s(unit.size_bytes) < unit.compile_ms / 1000
        if request.intent.toolchain:
            assert any(
                unit.key in {use.key for use in record.units} and record.intent.toolchain == request.intent.toolchain
                for record in history
            )
    assert made == plan(request, known, budget, tariff), "the same question has the same answer"


@settings(max_examples=100, deadline=None)
@given(histories, requests)
def test_what_has_changed_is_never_planned(history: list[BuildRecord], request: PlanRequest) -> None:
    known = Knowledge(history)
    states = state_of_all(known, request.changes)
    for unit in plan(request, known, tariff=Tariff(request_s=0)).units:
        assert states[unit.key] is not False
        assert request.changes.of(known.units[unit.key].use) is not False
        assert all(states.get(below) is not False for below in known.units[unit.key].waits)


@settings(max_examples=60, deadline=None)
@given(st.lists(records(), max_size=90))
def test_what_is_known_has_bounds_and_forgets_whole_records(history: list[BuildRecord]) -> None:
    known = Knowledge(history)
    assert len(known) <= MAX_RECORDS
    kept = {record.id for record in known.records.values()}
    alive = {use.key for record in history for use in record.units if record.id in kept}
    assert set(known.units) <= alive
    masks = 0
    for unit in known.units.values():
        assert unit.mask
        masks |= unit.mask
    assert masks >> MAX_RECORDS == 0
    shapes: dict[object, int] = {}
    for record in known.records.values():
        shape = (record.intent.workspace, record.intent.job, record.intent.command, record.intent.features)
        full = (*shape, record.intent.target, record.intent.profile, record.intent.toolchain, record.is_whole)
        key = (*full, record.intent.takes_all)
        shapes[key] = shapes.get(key, 0) + 1
    assert max(shapes.values(), default=0) <= MAX_OF_SHAPE


@settings(max_examples=100, deadline=None)
@given(histories, requests, st.lists(small, max_size=5))
def test_scores_are_parts_of_wholes(history: list[BuildRecord], request: PlanRequest, brought: list[int]) -> None:
    made = plan(request, Knowledge(history), tariff=Tariff(request_s=0))
    used = history[-1].units if history else ()
    took = {unit.key: 10 for at, unit in enumerate(made.units) if at in brought}
    found = scoring.score(made.units, took, used)
    assert 0 <= found.used <= found.fetched <= found.planned
    assert 0 <= found.used_bytes <= found.fetched_bytes <= found.planned_bytes
    assert found.precision is None or 0 <= found.precision <= 1
    assert found.recall is None or 0 <= found.recall <= 1
    assert all(0 < value <= 1 for value in scoring.worth([found]).values())
