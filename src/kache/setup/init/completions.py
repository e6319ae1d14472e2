"""Completions for the user's shell."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from kache.config.paths import home_dir
from kache.setup.files import obstacle
from kache.setup.init.step import State, Step, Wishes, Write

NAME = "completions"


def place_of(shell: str, env: Mapping[str, str]) -> Path | None:
    """Where a shell looks for a user's completions without a line in its start-up file; None for one that does not."""
    home = home_dir(env)
    data = env.get("XDG_DATA_HOME", "") or f"{home}/.local/share"
    config = env.get("XDG_CONFIG_HOME", "") or f"{home}/.config"
    return {
        "bash": Path(data, "bash-completion", "completions", "kache"),
        "fish": Path(config, "fish", "completions", "kache.fish"),
        "zsh": Path(data, "zsh", "site-functions", "_kache"),
    }.get(shell)


def plan(wishes: Wishes) -> Step:
    """For the login shell alone: files for shells nobody uses are litter."""
    shell = os.path.basename(wishes.env.get("SHELL", ""))
    place = place_of(shell, wishes.env)
    make = wishes.completions.get(shell)
    if not wishes.completions:
        return Step(NAME, State.SKIP, "no completions", "not wanted")
    if wishes.in_ci:
        return Step(NAME, State.SKIP, "no completions", "this is a CI machine")
    if place is None or make is None:
        why = f"SHELL is {shell or 'not set'}, which has no place for them; see kache completions --help"
        return Step(NAME, State.SKIP, "no completions", why)
    content = make().encode()
    warnings = _not_searched(wishes.env, place) if shell == "zsh" else ()
    if place.is_file() and place.read_bytes() == content:
        return Step(NAME, State.DONE, f"completions for {shell} are in {place}", warnings=warnings)
    hindrance = obstacle(place)
    if hindrance:
        return Step(NAME, State.SKIP, f"no completions: cannot write {place}", hindrance)
    what = f"write completions for {shell} to {place}"
    return Step(NAME, State.CHANGE, what, warnings=warnings, writes=(Write(place, content),))


def _not_searched(env: Mapping[str, str], place: Path) -> tuple[str, ...]:
    """Zsh searches only what fpath names, and only a start-up file can say that."""
    start_up = Path(env.get("ZDOTDIR") or home_dir(env), ".zshrc")
    directory = place.parent
    try:
        text = start_up.read_text(errors="replace")
    except OSError:
        text = ""
    if str(directory) in text or directory.as_posix().replace(home_dir(env), "~", 1) in text:
        return ()
    return (f"zsh finds them with this line in {start_up}, above compinit: fpath=({directory} $fpath)",)
