"""`choose`: what goes when the store is over its budget."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kache.core.eviction import Candidate, choose
from kache.errors import StoreCorruptError

DAY_NS = 86_400 * 10**9
NOW_NS = 1_000 * DAY_NS


def used(days_ago: float, *, compile_ms: int = 1000, blobs: tuple[int, ...] = (), protected: bool = False) -> Candidate:
    return Candidate(NOW_NS - int(days_ago * DAY_NS), compile_ms, blobs, protected)


def test_nothing_goes_within_the_budget() -> None:
    plan = choose([used(1, blobs=(0,))], [100], budget_bytes=100, now_ns=NOW_NS)
    assert (plan.evicted, plan.freed_bytes, plan.kept_bytes) == ((), 0, 100)


def test_the_longest_unused_goes_first() -> None:
    entries = [used(1, blobs=(0,)), used(30, blobs=(1,)), used(2, blobs=(2,))]
    assert choose(entries, [10**6] * 3, budget_bytes=2 * 10**6, now_ns=NOW_NS).evicted == (1,)


def test_of_equal_age_the_cheap_and_large_goes_first() -> None:
    entries = [used(1, compile_ms=9000, blobs=(0,)), used(1, compile_ms=90, blobs=(1,))]
    assert choose(entries, [10**6] * 2, budget_bytes=10**6, now_ns=NOW_NS).evicted == (1,)
    entries = [used(1, blobs=(0,)), used(1, blobs=(1,))]
    assert choose(entries, [10**9, 10**6], budget_bytes=10**6, now_ns=NOW_NS).evicted == (0,)


def test_a_shared_blob_is_freed_once_with_its_last_entry() -> None:
    entries = [used(9, blobs=(0, 1)), used(8, blobs=(0,)), used(1, blobs=(2,))]
    plan = choose(entries, [1000, 10, 500], budget_bytes=500, now_ns=NOW_NS)
    assert (set(plan.evicted), plan.freed_bytes, plan.kept_bytes) == ({0, 1}, 1010, 500)


def test_what_a_build_holds_stays_even_over_the_budget() -> None:
    entries = [used(1, blobs=(0,), protected=True), used(1, blobs=(1,))]
    plan = choose(entries, [100, 100], budget_bytes=0, now_ns=NOW_NS, max_age_ns=0)
    assert (plan.evicted, plan.kept_bytes) == ((1,), 100)


def test_age_evicts_within_the_budget() -> None:
    entries = [used(1, blobs=(0,)), used(40, blobs=(1,))]
    plan = choose(entries, [100, 100], budget_bytes=10**9, now_ns=NOW_NS, max_age_ns=30 * DAY_NS)
    assert (plan.evicted, plan.freed_bytes) == ((1,), 100)


def test_a_clock_set_back_counts_as_just_used() -> None:
    entries = [used(-400, blobs=(0,)), used(5, blobs=(1,))]
    plan = choose(entries, [100, 100], budget_bytes=100, now_ns=NOW_NS, max_age_ns=30 * DAY_NS)
    assert plan.evicted == (1,)


def test_an_entry_that_names_no_blob_is_damage() -> None:
    with pytest.raises(StoreCorruptError):
        choose([used(1, blobs=(1,))], [100], budget_bytes=0, now_ns=NOW_NS)


@given(
    entries=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 9999), st.sets(st.integers(0, 7)), st.booleans()), max_size=20
    ),
    sizes=st.lists(st.integers(0, 10**6), min_size=8, max_size=8),
    budget=st.integers(0, 4 * 10**6),
)
def test_the_plan_adds_up(entries: list[tuple[int, int, set[int], bool]], sizes: list[int], budget: int) -> None:
    candidates = [Candidate(NOW_NS - age * DAY_NS, ms, tuple(blobs), held) for age, ms, blobs, held in entries]
    plan = choose(candidates, sizes, budget_bytes=budget, now_ns=NOW_NS)
    gone = set(plan.evicted)
    assert len(gone) == len(plan.evicted)
    assert not any(candidates[position].protected for position in gone)
    named = {blob for entry in candidates for blob in entry.blobs}
    kept = {blob for position, entry in enumerate(candidates) if position not in gone for blob in entry.blobs}
    assert plan.kept_bytes == sum(sizes[blob] for blob in kept)
    assert plan.freed_bytes == sum(sizes[blob] for blob in named - kept)
    assert plan.kept_bytes <= budget or all(entry.protected for p, entry in enumerate(candidates) if p not in gone)
