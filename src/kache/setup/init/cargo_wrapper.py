"""`build.rustc-wrapper` in the user's cargo configuration."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from kache.cargo import configuration
from kache.cargo.configuration import Found
from kache.errors import KacheError
from kache.setup.checks.versions import find_launcher
from kache.setup.files import obstacle
from kache.setup.init.step import Key, State, Step, Wishes, Write
from kache.setup.toml_edit import with_value

NAME = "cargo-config"
_TABLE, _KEY = "build", "rustc-wrapper"


def launcher_to_name(env: Mapping[str, str]) -> Path | None:
    """The launcher's path as it should stand in a file: PATH's name for it lives longer than the environment behind it.

    Absolute, because cargo fails every build when it finds no such program, and an editor's PATH is not the shell's.
    """
    own = find_launcher()
    on_path = shutil.which("kache", path=env.get("PATH"))
    if own is not None and on_path is not None and os.path.isabs(on_path) and same_file(on_path, str(own)):
        return Path(on_path)
    return own


def plan(wishes: Wishes) -> Step:
    """Look at the file and at who outranks it."""
    path = configuration.user_file(wishes.env)
    if wishes.launcher is None:
        why = "cargo needs a native program to call, and this Python package has none beside it"
        fix = "install kache with pip, pipx or uv tool"
        return Step(NAME, State.BLOCKED, "no launcher to name", why, fix)
    try:
        return _plan(wishes, path, str(wishes.launcher))
    except KacheError as error:
        return Step(NAME, State.BLOCKED, error.what, error.why, error.fix)


def _plan(wishes: Wishes, path: Path, launcher: str) -> Step:
    found = configuration.wrappers(wishes.env, wishes.cwd)
    own = next((each for each in found if each.file == path), None)
    if own is None and path.exists():  # outside the files cargo reads here, for example through a strange CARGO_HOME
        configuration.read(path)
    warnings = tuple(
        _outranked(each, launcher) for each in found if each.file != path and not leads_to(each, launcher, wishes.env)
    )
    if own is not None and leads_to(own, launcher, wishes.env):
        return Step(NAME, State.DONE, f"{path} names {own.value}", warnings=warnings)
    hindrance = obstacle(path)
    if hindrance:
        return Step(
            NAME,
            State.BLOCKED,
            f"cannot write {path}",
            hindrance,
            f"make it writable, or set RUSTC_WRAPPER={launcher} in the environment instead",
        )
    text = path.read_bytes().decode() if path.exists() else ""
    content = with_value(text, path, _TABLE, _KEY, launcher).encode()
    instead, question = "", ""
    if own is not None:
        instead = f" in place of {own.value!s}"
        if not is_kache(str(own.value)):
            question = f"replace {own.value!s} ({own.origin}) by kache?"
    return Step(
        NAME,
        State.CHANGE,
        f'set build.rustc-wrapper = "{launcher}" in {path}{instead}',
        warnings=warnings,
        question=question,
        writes=(Write(path, content, Key(_TABLE, _KEY, launcher)),),
    )


def leads_to(found: Found, launcher: str, env: Mapping[str, str]) -> bool:
    """Whether a wrapper's name is that launcher, by whatever way."""
    program = configuration.program_of(found)
    if "/" not in program:
        program = shutil.which(program, path=env.get("PATH")) or ""
    return bool(program) and same_file(program, launcher)


def is_kache(wrapper: str) -> bool:
    """Whether a wrapper's name says it is kache, this installation or another."""
    return os.path.basename(wrapper) == "kache"


def same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one program."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _outranked(found: Found, launcher: str) -> str:
    if found.file is not None:
        return f"{found.origin} names {found.value!s} and outranks this in {found.file.parent.parent}"
    if not found.value:
        return f"{found.origin} is set and empty, which tells cargo to use no wrapper; unset it"
    return f"{found.origin}={found.value!s} outranks every file; unset it or set it to {launcher}"
