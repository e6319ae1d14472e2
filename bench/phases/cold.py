"""Cold: an empty store and an empty target against plain cargo, in pairs; then every peer in wall time."""

from __future__ import annotations

from pathlib import Path

from bench.arms import Arm
from bench.context import Context, clean, say, timed_build
from bench.stats import median, pair_order, paired_ratios, summary
from bench.usage import Usage

LIMIT = 1.02


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    where = context.checkout(context.project(name), "a")
    plain, kache = context.plain(), context.kache()
    new_toolchain = kache.box.toolchain_cost()
    runs: list[dict[str, Usage]] = []
    path_taken = ""
    for index in range(context.pairs):
        found = one_round([plain, kache], index, where)
        path_taken = kache.box.path_taken()
        runs.append(found)
        base, ours = found["plain"], found["kache"]
        say(
            f"cold {name} {index + 1}/{context.pairs}: plain {base.wall_s:.2f} s, kache {ours.wall_s:.2f} s,"
            f" ratio wall {ours.wall_s / base.wall_s:.3f}, CPU {ours.cpu_s / base.cpu_s:.3f}"
        )
    counts = kache.box.counts()
    kache.stop()
    wall = paired_ratios([(found["plain"].wall_s, found["kache"].wall_s) for found in runs])
    cpu = paired_ratios([(found["plain"].cpu_s, found["kache"].cpu_s) for found in runs])
    return {
        "path": path_taken,
        "plain_wall_s": summary([found["plain"].wall_s for found in runs]),
        "kache_wall_s": summary([found["kache"].wall_s for found in runs]),
        "plain_cpu_s": summary([found["plain"].cpu_s for found in runs]),
        "kache_cpu_s": summary([found["kache"].cpu_s for found in runs]),
        "wall_ratio": summary(wall),
        "cpu_ratio": summary(cpu),
        "last_outcomes": counts.outcomes,
        "passthrough_reasons": counts.reasons,
        "new_toolchain": new_toolchain,
        "limit": LIMIT,
        "ok": median(wall) <= LIMIT and median(cpu) <= LIMIT,
        "peers": _peers(context, name, where, plain) if context.peers else {},
    }


def one_round(arms: list[Arm], index: int, where: Path) -> dict[str, Usage]:
    """Build once with each arm, each from nothing."""
    by_name = {arm.name: arm for arm in arms}
    found = {}
    for name in pair_order(index, list(by_name)):
        clean(where)
        by_name[name].reset()
        found[name] = timed_build(by_name[name], where)
    return found


def _peers(context: Context, name: str, where: Path, plain: Arm) -> dict[str, object]:
    """Measure each peer in pairs with plain cargo, wall time only: their daemons' CPU is not ours to find."""
    result: dict[str, object] = {}
    for peer in context.peers:
        pairs = []
        for index in range(context.rounds):
            found = one_round([plain, peer], index, where)
            pairs.append((found["plain"].wall_s, found[peer.name].wall_s))
            say(f"cold {name}, {peer.name} {index + 1}/{context.rounds}: ratio wall {pairs[-1][1] / pairs[-1][0]:.3f}")
        peer.stop()
        result[peer.name] = {
            "wall_s": summary([measured for _, measured in pairs]),
            "wall_ratio": summary(paired_ratios(pairs)),
        }
    return result
