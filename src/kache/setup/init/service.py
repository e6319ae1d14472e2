"""The login service that keeps the daemon running."""

from __future__ import annotations

from kache.setup import login_service
from kache.setup.files import obstacle
from kache.setup.init.step import State, Step, Wishes, Write
from kache.setup.login_service import LoginService

NAME = "login-service"


def plan(wishes: Wishes) -> Step:
    """Look whether one can be had, and whether it is there."""
    reason = _unwanted(wishes)
    if reason:
        return Step(NAME, State.SKIP, "no login service; the first compile starts the daemon", reason)
    service = login_service.find()
    reason = service.hindrance(wishes.env)
    if reason or wishes.launcher is None:
        why = reason or "there is no launcher to start"
        return Step(NAME, State.SKIP, "no login service; the first compile starts the daemon", why)
    return install(service, wishes)


def install(service: LoginService, wishes: Wishes) -> Step:
    """The step that makes one."""
    assert wishes.launcher is not None
    path = service.path(wishes.env)
    content = service.content(wishes.launcher, wishes.env)
    same = path.is_file() and path.read_bytes() == content
    if same and service.is_enabled(wishes.env):
        return Step(NAME, State.DONE, f"{service.kind} starts the daemon at login ({path})")
    hindrance = "" if same else obstacle(path)
    if hindrance:
        return Step(NAME, State.SKIP, f"no login service: cannot write {path}", hindrance)
    return Step(
        NAME,
        State.CHANGE,
        f"have {service.kind} start the daemon, now and at login ({path})",
        writes=(Write(path, content),),
        after=lambda: service.enable(wishes.env),
    )


def _unwanted(wishes: Wishes) -> str:
    if not wishes.service:
        return "not wanted"
    if not wishes.config.daemon:
        return "KACHE_DAEMON is off"
    if wishes.in_ci:
        return "this is a CI machine"
    return ""
