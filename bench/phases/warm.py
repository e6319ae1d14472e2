"""Warm: an empty target in another checkout, by per-unit hits only; then nothing to do, in both checkouts."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from bench.arms import Arm
from bench.context import Context, clean, say, timed_build
from bench.errors import BenchError
from bench.kache_box import Counts
from bench.stats import median, pair_order, summary
from bench.usage import tail

HIT_ALLOWANCE_S = 0.003  # per wrapper call, shared out over the jobs
PEER_SHARE = 0.5


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    project = context.project(name)
    first, second = context.checkout(project, "a"), context.checkout(project, "second-checkout")
    kache = context.kache(KACHE_WARM_START="0")
    # kache prepares last: its target stays in the first checkout, which must still be fresh at the end.
    arms: list[Arm] = [context.nothing(), *context.peers, kache]
    for arm in arms:
        say(f"warm {name}: filling the store of {arm.name}")
        clean(first)
        arm.reset()
        timed_build(arm, first)
    walls: dict[str, list[float]] = {arm.name: [] for arm in arms}
    cpus: dict[str, list[float]] = {arm.name: [] for arm in arms}
    last: dict[str, Counts] = {}
    by_name = {arm.name: arm for arm in arms}
    for index in range(context.rounds):
        for arm_name in pair_order(index, list(by_name)):
            arm = by_name[arm_name]
            set_aside(second, index)
            before = arm.counts() or Counts()
            usage = timed_build(arm, second)
            if "nothing-wrapper:" in usage.output:
                raise BenchError("the floor compiled something", tail(usage.output), "its recordings are incomplete")
            last[arm_name] = (arm.counts() or Counts()).since(before)
            walls[arm_name].append(usage.wall_s)
            cpus[arm_name].append(usage.cpu_s)
        say(
            f"warm {name} {index + 1}/{context.rounds}: "
            + ", ".join(f"{arm} {values[-1]:.3f} s" for arm, values in walls.items())
        )
    set_aside(second, context.rounds)
    timed_build(kache, second)
    path_taken = kache.box.path_taken()
    noop = {"second_checkout": nothing_to_do(kache, second), "first_checkout": nothing_to_do(kache, first)}
    for arm in arms:
        arm.stop()
    for old in second.glob("target-*"):
        shutil.rmtree(old)
    result = verdict(context, walls, last)
    return result | {
        "path": path_taken,
        "wall_s": {arm: summary(values) for arm, values in walls.items()},
        "cpu_s": {arm: summary(values) for arm, values in cpus.items()},
        "kache_outcomes": last["kache"].outcomes,
        "kache_restore": last["kache"].restore,
        "passthrough_reasons": last["kache"].reasons,
        "noop": noop,
    }


def set_aside(where: Path, index: int) -> None:
    """Make the target directory an absent one, without deleting.

    For minutes after a deletion ext4 looks at every inode it is about to give out, and what was freed may have gone
    back to a virtual machine's host: a checkout that was never built has none of that.
    """
    target = where / "target"
    if target.exists():
        target.rename(where / f"target-{index}-{len(list(where.glob('target-*')))}")


def verdict(context: Context, walls: dict[str, list[float]], last: dict[str, Counts]) -> dict[str, object]:
    """Compare kache with the floor and with the best peer."""
    jobs = len(os.sched_getaffinity(0))
    floor = median(walls["nothing"])
    calls = last["nothing"].calls
    limit = floor + HIT_ALLOWANCE_S * calls / jobs
    ours = median(walls["kache"])
    peers = [median(walls[peer.name]) for peer in context.peers]
    return {
        "floor_s": round(floor, 6),
        "wrapper_calls": calls,
        "jobs": jobs,
        "limit_s": round(limit, 6),
        "ok": ours <= limit,
        "half_of_best_peer_s": round(min(peers) * PEER_SHARE, 6) if peers else None,
        "ok_against_peers": ours <= min(peers) * PEER_SHARE if peers else None,
    }


def nothing_to_do(arm: Arm, where: Path) -> dict[str, object]:
    """Build again; say what cargo found to do and how often it called the wrapper."""
    before = arm.counts() or Counts()
    usage = timed_build(arm, where, "-v")
    calls = (arm.counts() or Counts()).since(before).calls
    compiled = re.findall(r"^\s*(?:Dirty|Compiling|Running) .*$", usage.output, re.MULTILINE)
    return {
        "wall_s": round(usage.wall_s, 6),
        "did": compiled[:20],
        "wrapper_calls": calls,
        "ok": not compiled and calls == 0,
    }
