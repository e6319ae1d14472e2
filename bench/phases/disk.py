"""Disk: what one, two and three checkouts of a project and the store occupy together."""

from __future__ import annotations

from pathlib import Path

from bench.context import Context, clean, say, timed_build
from bench.disk import allocated_bytes, own_cost

LIMIT = 0.15


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    project = context.project(name)
    kache = context.kache()
    targets: list[Path] = []
    totals: list[int] = []
    costs: list[dict[str, int]] = []
    for label in ("a", "second-checkout", "the-third-one"):
        where = context.checkout(project, label)
        timed_build(kache, where)
        held = [kache.box.cache_dir, *targets]
        targets.append(where / "target")
        # The first target's own figure is what a build without any cache occupies: nothing held elsewhere is left out.
        costs.append(own_cost(targets[-1], held if len(targets) > 1 else []))
        totals.append(allocated_bytes([kache.box.cache_dir, *targets]))
        say(f"disk {name}: {len(targets)} checkouts and the store {totals[-1] / 2**20:.0f} MiB")
    first = sum(costs[0].values())
    shares = [cost["shared"] / first for cost in costs[1:]]
    path_taken = kache.box.path_taken()
    kache.stop()
    for target in targets:
        clean(target.parent)
    return {
        "path": path_taken,
        "first_target_bytes": first,
        "store_bytes": allocated_bytes([kache.box.cache_dir]),
        "together_bytes": totals,
        "own_cost_bytes": costs,
        "share_of_first": [round(share, 4) for share in shares],
        "share_of_first_shareable": [round(cost["shared"] / max(1, costs[0]["shared"]), 4) for cost in costs[1:]],
        "limit": LIMIT,
        "ok": all(cost["shared"] <= LIMIT * costs[0]["shared"] for cost in costs[1:]),
    }
