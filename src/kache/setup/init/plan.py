"""The plan of `kache init`, and how it is carried out: all of it or nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kache.config.paths import home_dir
from kache.errors import KacheError, SetupBlockedError, SetupFailedError
from kache.setup import login_service
from kache.setup.init import cargo_shim, cargo_wrapper, completions, git_hooks, service
from kache.setup.init.record import Record, undo
from kache.setup.init.step import State, Step, Wishes


@dataclass(frozen=True, slots=True)
class Plan:
    """Every step, and what is to be said whatever they find."""

    steps: tuple[Step, ...]
    warnings: tuple[str, ...]

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that would change something."""
        return tuple(step for step in self.steps if step.state is State.CHANGE)

    def refuse_if_blocked(self) -> None:
        """Raise what stands in the way, if anything does.

        Raises:
            SetupBlockedError: a step that is needed is not possible.
        """
        for step in self.steps:
            if step.state is State.BLOCKED:
                raise SetupBlockedError(step.what, why=step.why, fix=step.fix)


def make(wishes: Wishes) -> Plan:
    """Look at everything; nothing is changed.

    Raises:
        SetupBlockedError: the home directory is somebody else's.
    """
    warnings = _look_at_user(wishes)
    steps = [cargo_wrapper.plan(wishes), service.plan(wishes), completions.plan(wishes)]
    if wishes.cargo_shim:
        steps.append(cargo_shim.plan(wishes))
    if wishes.git_hooks:
        steps.append(git_hooks.plan(wishes))
    return Plan(tuple(steps), (*warnings, *(warning for step in steps for warning in step.warnings)))


def apply(steps: Sequence[Step], wishes: Wishes) -> None:
    """Carry steps out; if one fails or is interrupted, those before it are taken back.

    Raises:
        SetupFailedError: one failed; all is as it was before.
    """
    record = Record.load(wishes.env)
    fresh = record.is_empty
    try:
        for step in steps:
            _carry_out(step, record, wishes)
    except BaseException as error:
        # A run that only adds to an earlier one leaves what it added: the next run finishes it, and undo knows it all.
        if fresh:
            take_back(record, wishes)
        if isinstance(error, OSError):
            where = error.filename or wishes.env.get("HOME", "")
            raise SetupFailedError(f"cannot write {where}", why=error.strerror or str(error)) from error
        raise


def take_back(record: Record, wishes: Wishes) -> list[str]:
    """Undo everything of a record; what was left as it is, and why.

    Raises:
        KacheError: something cannot be undone; the record keeps it.
    """
    problems = []
    installed = login_service.find(record.service) if record.service else None
    if installed is not None:
        try:
            installed.disable(wishes.env)
        except KacheError as error:
            problems.append(error.line)
        record.service = ""
    problems += undo(record)
    if installed is not None:
        try:
            installed.reload(wishes.env)
        except KacheError as error:
            problems.append(error.line)
    return problems


def take_service_back(record: Record, wishes: Wishes) -> bool:
    """Undo the login service alone; False if there is none of ours.

    Raises:
        KacheError: its manager refused, or its file cannot be removed.
    """
    if not record.service:
        return False
    manager = login_service.find(record.service)
    manager.disable(wishes.env)
    path = os.path.realpath(manager.path(wishes.env))
    for note in [each for each in record.notes if each.path == path]:
        record.take_back(note)
    record.service = ""
    record.tidy()
    manager.reload(wishes.env)
    return True


def _carry_out(step: Step, record: Record, wishes: Wishes) -> None:
    if step.name == service.NAME:
        manager = login_service.find()
        record.service = manager.kind
        record.note_directories([each for each in manager.directories(wishes.env) if not each.exists()])
    for write in step.writes:
        record.write(write)
    if step.after is not None:
        _stop_daemon(wishes)  # it holds the cache dir; the service starts one in its place
        step.after()


def _stop_daemon(wishes: Wishes) -> None:
    if not wishes.config.socket_path.exists():
        return
    from kache.ipc.lifecycle import stop_daemon

    try:
        stop_daemon(wishes.env)
    except KacheError:
        return  # the service says what is wrong with it


def _look_at_user(wishes: Wishes) -> tuple[str, ...]:
    home = Path(home_dir(wishes.env))
    if not home.is_dir():
        raise SetupBlockedError(
            f"the home directory {home} is not there", why="the setup is for one user", fix="set HOME"
        )
    if os.geteuid() != 0:
        return ()
    if wishes.env.get("SUDO_UID", "0") != "0":
        if home.stat().st_uid != 0:
            raise SetupBlockedError(
                f"{home} is not root's, and this runs as root through sudo",
                why="its owner could not change the files this would write",
                fix="run kache init without sudo",
            )
        return (f"this sets kache up for root ({home}), not for the user who called sudo",)
    return ()
