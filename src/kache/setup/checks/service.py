"""The login service, where there is one: it starts a launcher that exists."""

from __future__ import annotations

from collections.abc import Callable

from kache.errors import KacheError
from kache.setup import login_service
from kache.setup.finding import OK, WARN, Finding, Surroundings
from kache.setup.init import plan, service
from kache.setup.init.cargo_wrapper import launcher_to_name
from kache.setup.init.step import State, Wishes


def check(around: Surroundings) -> list[Finding]:
    """Compare its description with what `kache daemon install` would write."""
    try:
        manager = login_service.find()
    except KacheError as error:
        return [Finding(OK, error.what)]
    path = manager.path(around.env)
    launcher = launcher_to_name(around.env)
    if not path.is_file():
        return [Finding(OK, "no login service; the first compile starts the daemon")]
    if launcher is None or path.read_bytes() == manager.content(launcher, around.env):
        return [Finding(OK, f"{manager.kind} starts the daemon at login ({path})")]
    why = f"{path} is not what this kache would write: another installation's, or for another cache dir"
    return [Finding(WARN, "the login service may start another daemon", why, "kache daemon install", _repair(around))]


def _repair(around: Surroundings) -> Callable[[], str] | None:
    manager = login_service.find()
    wishes = Wishes(around.env, around.cwd, around.config, launcher_to_name(around.env))
    if manager.hindrance(around.env):
        return None
    step = service.install(manager, wishes)
    if step.state is not State.CHANGE:
        return None

    def repair() -> str:
        plan.apply((step,), wishes)
        return step.what

    return repair
