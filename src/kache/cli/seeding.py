"""Have the daemon put what it has of a coming build into the target directory, before cargo starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from kache.cargo import configuration, intent
from kache.cargo.script_memories import DIRECTORY_VARIABLE
from kache.cli.session import Session
from kache.engine.requests import Announcement
from kache.errors import KacheError
from kache.ipc.client import control
from kache.ipc.lifecycle import start_daemon
from kache.util import processes

_LIMIT_S = 60.0


def seed(pid: int, argv: Sequence[str], env: Mapping[str, str], session: Session, more: Mapping[str, str]) -> None:
    """Ask for it; whatever goes wrong, cargo builds without.

    Args:
        pid: of the process that will be cargo.
        argv: cargo's.
        env: cargo's.
        session: of this command.
        more: what cargo is told beside; what runs before it is not.
    """
    config = session.config
    if not config.warm_start or config.disabled or not config.daemon or session.cwd is None:
        return
    if _is_environment_configured(env, session.cwd):
        return  # cargo's first question tells it, in a target where cargo has never built
    told = {name: more[name] for name in (DIRECTORY_VARIABLE,) if name in more}
    announcement = announcement_of(pid, argv, {**env, **told}, session)
    if announcement is None:
        return
    try:
        start_daemon(env)
        control(config.socket_path, announcement.to_message(), timeout_s=_LIMIT_S + config.remote_warm_limit_s)
    except (KacheError, OSError):
        return  # the launcher will meet the same, and says it in the log


def announcement_of(pid: int, argv: Sequence[str], env: Mapping[str, str], session: Session) -> Announcement | None:
    """What the daemon is told of a cargo to come; None for one that builds nothing, or has no compiler."""
    words = [os.fsencode(word) for word in argv]
    toolchain = {}
    if len(words) > 1 and words[1].startswith(b"+"):  # rustup gives cargo this variable for it
        toolchain = {"RUSTUP_TOOLCHAIN": argv[1][1:]}
    if intent.read(words) is None or session.cwd is None:
        return None
    rustc = _rustc({**env, **toolchain}, session.cwd)
    if rustc is None:
        return None
    umask = os.umask(0)
    os.umask(umask)
    return Announcement(
        pid=pid,
        argv=tuple(words),
        cwd=os.fsencode(session.cwd),
        umask=umask,
        mount_ns=processes.mount_ns(),
        env=tuple(os.fsencode(f"{name}={value}") for name, value in {**env, **toolchain}.items()),
        rustc=os.fsencode(rustc),
    )


def _is_environment_configured(env: Mapping[str, str], cwd: Path) -> bool:
    """Whether cargo will set variables of its own accord: an [env] table, or a file that may hold one."""
    try:
        documents = [configuration.read(path)[1] for path in configuration.files(env, cwd)]
    except KacheError:
        return True
    return any("env" in document or "include" in document for document in documents)


def _rustc(env: Mapping[str, str], cwd: Path) -> str | None:
    """The compiler cargo would ask. Source: cargo `util/context/mod.rs`, `load_global_rustc`."""
    named = env.get("RUSTC") or env.get("CARGO_BUILD_RUSTC")
    if not named:
        try:
            found = next(configuration.values(env, cwd, "build", "rustc"), None)
        except KacheError:
            return None
        named = configuration.program_of(found) if found is not None else "rustc"
    return shutil.which(named, path=env.get("PATH"))
