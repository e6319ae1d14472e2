"""Plans by example: what is fetched for which coming build, and what is not."""

from __future__ import annotations

import msgspec

from kache.core.usage import PlanScore, UnitUse
from kache.planner import scoring
from kache.planner.closure import Changes
from kache.planner.knowledge import MAX_OF_SHAPE, Knowledge
from kache.planner.plan import Budget, PlanRequest, PrefetchPlan, Tariff, plan
from tests.support.histories import Crate, Tree, digest

FREE = Tariff(request_s=0, bytes_per_s=1e12)
TREE = Tree.of(
    Crate("libc"),
    Crate("syn"),
    Crate("macros", ("syn",), kind="proc-macro"),
    Crate("serde", ("macros",)),
    Crate("tokio", ("libc",)),
    Crate("leaf", ("serde",), is_member=True),
    Crate("app", ("leaf", "tokio"), is_member=True, kind="bin"),
)


def asked(tree: Tree, **intent: object) -> PlanRequest:
    return PlanRequest(msgspec.structs.replace(tree.today, **intent), tree.changes)


def names(found: PrefetchPlan) -> list[str]:
    return [unit.crate_name for unit in found.units]


def test_the_same_commit_wants_what_it_wanted_in_order_of_need() -> None:
    found = plan(asked(TREE), Knowledge([TREE.record()]), tariff=FREE)
    assert names(found) == list(TREE.crates)
    assert {unit.reason for unit in found.units} == {"exact"} and {unit.confidence for unit in found.units} == {1.0}


def test_a_bumped_dependency_takes_itself_and_what_is_above_it_and_nothing_else() -> None:
    after = TREE.bump("tokio", "2")
    found = plan(asked(after), Knowledge([TREE.record()]), tariff=FREE)
    assert names(found) == ["libc", "syn", "macros", "serde", "leaf"]
    assert found.left_out == {"changed": 2}
    assert {unit.key for unit in found.units} == {after.key(name) for name in names(found)}


def test_an_edited_member_takes_itself_and_what_is_above_it() -> None:
    found = plan(asked(TREE.bump("leaf", "edited")), Knowledge([TREE.record()]), tariff=FREE)
    assert names(found) == ["libc", "syn", "macros", "serde", "tokio"]


def test_what_another_branch_has_built_already_is_wanted() -> None:
    """The bump was built in CI on a branch: the plan has its units, and none of those they replace."""
    after = TREE.bump("tokio", "2")
    found = plan(asked(after), Knowledge([after.record(), TREE.record()]), tariff=FREE)
    assert {unit.key for unit in found.units} == {after.key(name) for name in TREE.crates}


def test_a_new_workspace_gets_what_it_shares_with_others() -> None:
    other = Tree.of(*TREE.crates.values(), Crate("own", ("tokio",), is_member=True), name="theirs")
    found = plan(asked(TREE), Knowledge([other.record()]), tariff=FREE)
    assert names(found) == ["libc", "syn", "macros", "serde", "tokio"]
    assert {unit.reason for unit in found.units} == {"shared"}


def test_nothing_of_another_toolchain_or_profile_is_planned() -> None:
    known = Knowledge([TREE.record()])
    assert names(plan(asked(TREE, toolchain=digest("newer")), known, tariff=FREE)) == []
    assert names(plan(asked(TREE, profile="release"), known, tariff=FREE)) == []


def test_a_check_takes_from_builds_what_runs_on_the_host_alone() -> None:
    found = plan(asked(TREE, command="check"), Knowledge([TREE.record()]), tariff=FREE)
    assert names(found) == ["syn", "macros"]


def test_a_build_takes_no_tests() -> None:
    tree = Tree.of(Crate("libc"), Crate("app", ("libc",), is_member=True, kind="test"), command="test")
    assert names(plan(asked(tree, command="build"), Knowledge([tree.record()]), tariff=FREE)) == ["libc"]
    assert names(plan(asked(tree), Knowledge([tree.record()]), tariff=FREE)) == ["libc", "app"]


def test_without_a_command_everything_recent_is_planned() -> None:
    check = Tree(TREE.crates, TREE.name, msgspec.structs.replace(TREE.intent, command="check"))
    known = Knowledge([TREE.record(), check.record()])
    both = {unit.key for unit in plan(asked(TREE, command=""), known, tariff=FREE).units}
    assert both >= {TREE.key("app"), TREE.key("leaf"), check.key("leaf")}


def test_what_the_same_job_and_branch_used_comes_before_what_others_did() -> None:
    """Two jobs with other flags have other keys of the same crates: of each crate one is likely, the other is not."""

    def job(name: str, branch: str, flags: str) -> Tree:
        made = Tree(TREE.crates, TREE.name, msgspec.structs.replace(TREE.intent, job=name, branch=branch))
        return made if not flags else _flagged(made, flags)

    mine, theirs = job("linux", "main", ""), job("sanitizer", "other", "asan")
    known = Knowledge([theirs.record(), mine.record(), theirs.record(id=digest("again")), mine.record(id=digest("2"))])
    found = {unit.key: unit.confidence for unit in plan(asked(mine), known, tariff=FREE).units}
    assert found[mine.key("libc")] > found.get(theirs.key("libc"), 0.0)


def _flagged(tree: Tree, flags: str) -> Tree:
    class Other(Tree):
        def key(self, name: str) -> bytes:
            return digest(flags, super().key(name))

    return Other(tree.crates, tree.name, tree.intent)


def test_what_no_build_of_this_kind_wants_any_more_is_unlikely() -> None:
    """A dependency that stands in the lockfile still, and is no longer built."""
    without = [name for name in TREE.crates if name not in ("tokio", "app")]
    newer = [TREE.record(only=without, is_whole=True, id=digest(number)) for number in range(MAX_OF_SHAPE - 1)]
    known = Knowledge([TREE.record(), *newer])
    found = {unit.crate_name: unit.confidence for unit in plan(asked(TREE), known, tariff=FREE).units}
    assert found["libc"] == 1.0 and found.get("tokio", 0.0) < 0.3


def test_a_unit_that_costs_more_to_fetch_than_to_compile_is_left() -> None:
    tree = Tree.of(Crate("tiny", compile_ms=3), Crate("huge", size_bytes=1 << 30, compile_ms=900), Crate("good"))
    found = plan(asked(tree), Knowledge([tree.record()]), tariff=Tariff(request_s=0.05, bytes_per_s=10e6))
    assert names(found) == ["good"] and found.left_out == {"dearer": 2}


def test_a_budget_goes_to_what_saves_most_per_byte() -> None:
    tree = Tree.of(
        Crate("bulky", size_bytes=9 << 20, compile_ms=1_000),
        Crate("dense", size_bytes=1 << 20, compile_ms=9_000),
        Crate("last", size_bytes=1 << 20, compile_ms=8_000),
    )
    known = Knowledge([tree.record()])
    assert names(plan(asked(tree), known, Budget(size_bytes=2 << 20), FREE)) == ["dense", "last"]
    assert names(plan(asked(tree), known, Budget(keys=1), FREE)) == ["dense"]
    assert names(plan(asked(tree), known, Budget(seconds=0.0), Tariff(request_s=0.001))) == []


def test_unknown_sources_make_members_less_sure_and_nothing_wrong() -> None:
    request = PlanRequest(TREE.today, Changes(TREE.changes.packages, None))
    found = {unit.crate_name: unit for unit in plan(request, Knowledge([TREE.record()]), tariff=FREE).units}
    assert found["libc"].reason == "exact" and found["leaf"].reason == "same-lockfile"
    assert found["leaf"].confidence < found["libc"].confidence


def test_records_that_go_round_in_circles_are_not_followed_for_ever() -> None:
    record = TREE.record()
    first, second, *rest = record.units
    round_ = (msgspec.structs.replace(first, waits=(1,)), msgspec.structs.replace(second, waits=(0,)), *rest)
    found = plan(asked(TREE), Knowledge([msgspec.structs.replace(record, units=round_)]), tariff=FREE)
    assert "libc" not in names(found)


def test_a_plan_is_scored_by_what_the_build_used() -> None:
    made = plan(asked(TREE), Knowledge([TREE.record()]), tariff=FREE)
    used: tuple[UnitUse, ...] = TREE.bump("tokio", "2").record().units
    brought = {unit.key: 50 for unit in made.units if unit.crate_name != "serde"}
    found = scoring.score(made.units, brought, used)
    assert (found.planned, found.fetched, found.used, found.needed, found.late) == (7, 6, 4, 7, 1)
    assert found.precision == 4 / 6 and found.recall == 4 / 7
    assert (found.saved_ms, found.wasted_ms) == (4_000, 100)
    assert {reason: (a, b) for reason, a, b in found.by_reason} == {"exact": (6 << 20, 4 << 20)}


def test_reasons_whose_fetches_went_unused_count_less_in_this_workspace() -> None:
    bad = PlanScore(by_reason=(("shared", 900 << 20, 0), ("exact", 900 << 20, 900 << 20)))
    worth = scoring.worth([bad])
    assert worth["exact"] == 1.0 and worth["shared"] < 0.1
    other = Tree.of(*TREE.crates.values(), name="theirs")
    assert names(plan(asked(TREE), Knowledge([other.record()]), tariff=FREE, worth=worth)) == []
