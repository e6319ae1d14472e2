"""Whether cargo calls kache, and who says so: the commonest way to have a cache is to have it and not use it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from kache.cargo import configuration
from kache.cargo.configuration import Found
from kache.errors import CargoConfigError
from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings
from kache.setup.init import cargo_shim, cargo_wrapper, plan
from kache.setup.init.step import State, Wishes

_UNUSED = "every compile runs without the cache, and nothing says so"
_SWITCHED_OFF = {"KACHE_DISABLED": ("1", "true", "yes", "on")}


def check(around: Surroundings) -> list[Finding]:
    """Follow cargo's order: variables, then files from here upward, then the user's."""
    try:
        found = configuration.wrappers(around.env, around.cwd)
        return [_first(found, around), *_workspace_wrapper(around), *_env_table(around)]
    except CargoConfigError as error:
        return [Finding(FAIL, error.what, error.why, "mend the file: cargo refuses it too")]


def _first(found: list[Found], around: Surroundings) -> Finding:
    if not found:
        shim = next(cargo_shim.cargos(around.env), "")
        if shim and cargo_shim.is_shim(shim):
            return Finding(OK, f"cargo is kache's shim ({shim}), which needs no wrapper")
        fix = "kache init, or RUSTC_WRAPPER=kache in the environment"
        return Finding(WARN, "cargo calls no wrapper here: kache is silently unused", _UNUSED, fix, _init(around))
    first = found[0]
    if not first.value:
        return Finding(WARN, f"{first.origin} is set and empty: no wrapper", _UNUSED, f"unset {first.origin}")
    program = configuration.program_of(first)
    path = program if "/" in program else shutil.which(program, path=around.env.get("PATH"))
    if not cargo_wrapper.is_kache(program) and not _is_ours(path, around):
        fix = (
            "kache init" if first.file == configuration.user_file(around.env) else f"set it to kache at {first.origin}"
        )
        return Finding(WARN, f"cargo calls {first.value!s} ({first.origin}), not kache", _UNUSED, fix)
    if path is None or not os.access(path, os.X_OK):
        why = "cargo fails every build that it cannot run its wrapper for"
        return Finding(
            FAIL, f"{first.origin} names {first.value!s}, which is not there", why, "kache init", _init(around)
        )
    if not _is_ours(path, around):
        why = f"it is another installation than this one ({cargo_wrapper.launcher_to_name(around.env)})"
        return Finding(WARN, f"cargo calls {path} ({first.origin})", why, "kache init", _init(around))
    return Finding(OK, f"cargo calls kache, by {first.origin}")


def _is_ours(path: str | None, around: Surroundings) -> bool:
    own = cargo_wrapper.launcher_to_name(around.env)
    return path is not None and own is not None and cargo_wrapper.same_file(path, str(own))


def _init(around: Surroundings) -> Callable[[], str] | None:
    """The repair is the first step of `kache init`; none where that has a question to ask, or cannot."""
    launcher = cargo_wrapper.launcher_to_name(around.env)
    wishes = Wishes(around.env, around.cwd, around.config, launcher)
    step = cargo_wrapper.plan(wishes)
    if step.state is not State.CHANGE or step.question:
        return None

    def repair() -> str:
        plan.apply((step,), wishes)
        return step.what

    return repair


def _workspace_wrapper(around: Surroundings) -> list[Finding]:
    names = ("RUSTC_WORKSPACE_WRAPPER", "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER")
    found = [Found(around.env[name], name) for name in names if around.env.get(name)]
    found += configuration.values(around.env, around.cwd, "build", "rustc-workspace-wrapper")
    if not found or not found[0].value or Path(str(found[0].value)).name in ("kache", "clippy-driver"):
        return []
    why = "what it does to a compile is not known, so the workspace's own crates pass through"
    return [Finding(WARN, f"{found[0].origin} puts {found[0].value!s} between", why, "do without it where you can")]


def _env_table(around: Surroundings) -> list[Finding]:
    """What cargo's `[env]` gives to every compile, kache's own variables among it."""
    findings = []
    for name, words in _SWITCHED_OFF.items():
        for found in configuration.values(around.env, around.cwd, "env", name):
            value = found.value.get("value", "") if isinstance(found.value, dict) else found.value
            if str(value).lower() in words:
                what = f"{found.origin} sets {name} for every compile"
                findings.append(Finding(WARN, what, _UNUSED, "remove it there"))
    return findings
