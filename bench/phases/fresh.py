"""Fresh: an empty target in another checkout, with warm start: units are in place before cargo asks.

Beside cargo's own no-op in the same tree, and the peers. Each round has a checkout of its own, so that no figure holds
what a filesystem does about files that were just deleted.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from bench import peers
from bench.arms import Arm
from bench.context import Context, say, timed_build
from bench.kache_box import Counts
from bench.stats import median, pair_order, paired_ratios, summary

NOOP_LIMIT = 2.0
PEER_SHARE = 0.5
VERBS: dict[str, tuple[str, ...]] = {
    "build": ("build",),
    "check": ("check",),
    "test": ("test", "--no-run"),
    "release": ("build", "--release"),
}


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    kache = context.kache(KACHE_WARM_START="1")
    others = peers.arms(context.work, context.base_env, seeding=True)[0] if context.peers else []
    arms: list[Arm] = [kache, *others]
    origin = context.checkout(context.project(name), "a")
    for arm in arms:
        say(f"fresh {name}: filling the store of {arm.name}")
        shutil.rmtree(origin / "target", ignore_errors=True)
        arm.reset()
        for words in VERBS.values():
            timed_build(arm, origin, words=words)
    verbs = {verb: _verb(context, name, arms, verb) for verb in VERBS}
    then = _check_then_test(context, name, kache)
    path_taken = kache.box.path_taken()
    for arm in arms:
        arm.stop()
    shutil.rmtree(origin / "target", ignore_errors=True)
    return {
        "path": path_taken,
        "verbs": verbs,
        "check_then_test": then,
        "limits": {"noop_ratio": NOOP_LIMIT, "share_of_best_peer": PEER_SHARE},
        "ok": all(found["ok"] for found in verbs.values()),
    }


def _verb(context: Context, name: str, arms: list[Arm], verb: str) -> dict[str, object]:
    """Build in fresh checkouts, the arms taking turns, each followed by a build with nothing to do."""
    walls: dict[str, list[float]] = {arm.name: [] for arm in arms}
    noops: dict[str, list[float]] = {arm.name: [] for arm in arms}
    last = Counts()
    by_name = {arm.name: arm for arm in arms}
    made: list[Path] = []
    for index in range(context.rounds):
        for arm_name in pair_order(index, list(by_name)):
            arm = by_name[arm_name]
            where = context.checkout(context.project(name), f"fresh-{verb}-{index}-{arm_name}")
            made.append(where)
            before = arm.counts() or Counts()
            walls[arm_name].append(timed_build(arm, where, words=VERBS[verb]).wall_s)
            if arm_name == "kache":
                last = (arm.counts() or Counts()).since(before)
            noops[arm_name].append(timed_build(arm, where, words=VERBS[verb]).wall_s)
        say(f"fresh {name} {verb} {index + 1}/{context.rounds}: " + _last(walls))
    for where in made:
        shutil.rmtree(where.parent)
    ratios = paired_ratios(list(zip(noops["kache"], walls["kache"], strict=True)))
    ours, theirs = median(walls["kache"]), [median(found) for arm, found in walls.items() if arm != "kache"]
    return {
        "wall_s": {arm: summary(found) for arm, found in walls.items()},
        "noop_s": {arm: summary(found) for arm, found in noops.items()},
        "noop_ratio": summary(ratios),
        "outcomes": last.outcomes,
        "restore": last.restore,
        "half_of_best_peer_s": round(min(theirs) * PEER_SHARE, 6) if theirs else None,
        "ok": median(ratios) <= NOOP_LIMIT and (not theirs or ours <= min(theirs) * PEER_SHARE),
    }


def _check_then_test(context: Context, name: str, arm: Arm) -> dict[str, object]:
    """In one fresh target: cargo asks for the compiler once, so all must be there for the second command too."""
    walls: dict[str, list[float]] = {"check": [], "test": []}
    for index in range(context.rounds):
        where = context.checkout(context.project(name), f"fresh-then-{index}")
        for verb, found in walls.items():
            found.append(timed_build(arm, where, words=VERBS[verb]).wall_s)
        say(f"fresh {name} check, then test {index + 1}/{context.rounds}: " + _last(walls))
        shutil.rmtree(where.parent)
    return {verb: summary(found) for verb, found in walls.items()}


def _last(walls: dict[str, list[float]]) -> str:
    return ", ".join(f"{label} {found[-1]:.3f} s" for label, found in walls.items())
