"""Plans of what a build will need: are any made, and does the service answer that is asked for them."""

from __future__ import annotations

from kache.errors import PlannerError
from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings

_PATIENCE_S = 5.0


def check(around: Surroundings) -> list[Finding]:
    """Ask the service for a plan of nothing."""
    config = around.config
    if config.planner and config.remote is None:
        why = "plans say what to fetch, and there is nowhere to fetch from"
        return [Finding(WARN, f"{config.planner} is named, and no remote", why, "kache config set remote URL")]
    if config.remote is None:
        return [Finding(OK, "no plans are made: without a remote there is nothing to fetch")]
    if not config.prefetch:
        return [Finding(OK, "builds fetch nothing beforehand: prefetch is off")]
    if not config.planner:
        return [Finding(OK, "plans are made from this machine's builds and the remote's; no service is configured")]
    from kache.core.usage import Intent
    from kache.planner.client import ASK_S, PlannerClient
    from kache.planner.plan import Budget, PlanRequest

    client = PlannerClient(config.planner, around.env.get("KACHE_PLANNER_TOKEN", ""))
    nothing = PlanRequest(Intent(workspace=bytes(32)))
    try:
        client.plan(nothing, Budget(size_bytes=0, keys=0), _PATIENCE_S)
    except PlannerError as error:
        why = f"{error.why}; builds go on with what this machine and the remote know".lstrip("; ")
        fix = "see whether it runs, and KACHE_PLANNER_TOKEN"
        return [Finding(FAIL, error.what, why, fix)]
    return [Finding(OK, f"{config.planner} answers; a build waits {ASK_S:g} s for it")]
