"""Observe: what noting all that compiles look at costs a cold build, with observation on and off in turns."""

from __future__ import annotations

from bench.context import Context, say
from bench.phases.cold import one_round
from bench.stats import median, paired_ratios, summary
from bench.usage import Usage

LIMIT = 1.01


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    where = context.checkout(context.project(name), "a")
    arms = [context.kache("off", KACHE_OBSERVE="0"), context.kache("on", KACHE_OBSERVE="1")]
    runs: list[dict[str, Usage]] = []
    for index in range(context.pairs):
        found = one_round(list(arms), index, where)
        runs.append(found)
        off, on = found["off"], found["on"]
        say(
            f"observe {name} {index + 1}/{context.pairs}: off {off.wall_s:.2f} s, on {on.wall_s:.2f} s,"
            f" ratio wall {on.wall_s / off.wall_s:.3f}, CPU {on.cpu_s / off.cpu_s:.3f}"
        )
    wall = paired_ratios([(found["off"].wall_s, found["on"].wall_s) for found in runs])
    cpu = paired_ratios([(found["off"].cpu_s, found["on"].cpu_s) for found in runs])
    result = {
        "path": arms[1].box.path_taken(),
        "off_cpu_s": summary([found["off"].cpu_s for found in runs]),
        "on_cpu_s": summary([found["on"].cpu_s for found in runs]),
        "wall_ratio": summary(wall),
        "cpu_ratio": summary(cpu),
        "last_outcomes": arms[1].box.counts().outcomes,
        "limit": LIMIT,
        "ok": median(wall) <= LIMIT and median(cpu) <= LIMIT,
    }
    for arm in arms:
        arm.stop()
    return result
