"""A program named `cargo` that stands before the real one on PATH and runs it by `kache cargo`.

It needs no wrapper in any configuration, prints the line on what the cache did, and has warm start fill targets that
exist. Without kache, or where cargo compiles nothing, it is the cargo behind it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from kache.config.paths import home_dir
from kache.setup.files import obstacle
from kache.setup.init.step import State, Step, Wishes, Write

NAME = "cargo-shim"
MARK = b"# kache-cargo-shim"
_HEAD_BYTES = 256
_MODE = 0o755
_COMPILES_NOTHING = (
    "add config fetch fmt generate-lockfile help info init locate-project login logout metadata new owner package pkgid"
    " read-manifest remove search tree uninstall update vendor verify-project version yank"
    " -h --help -V -vV --version --list"
)
_SCRIPT = """\
#!/bin/sh
# kache-cargo-shim: made by `kache init --cargo-shim`; `kache init --undo` removes it.
# cargo with its compiles cached. What compiles nothing, and all of it should kache be gone, goes to cargo itself.
kache={launcher}
case "$1" in
    +*) word=$2 ;;
    *) word=$1 ;;
esac
case "$word" in
    '' | {nothing}) ;;
    *) if [ -x "$kache" ] && [ -z "$KACHE_DISABLED" ]; then exec "$kache" cargo "$@"; fi ;;
esac
here=$(cd -- "${{0%/*}}" && pwd -P)
behind=
IFS=:
for directory in $PATH; do
    if [ -z "$behind" ]; then
        if [ "$(cd -- "$directory" 2>/dev/null && pwd -P)" = "$here" ]; then behind=yes; fi
    elif [ -x "$directory/cargo" ] && [ ! -d "$directory/cargo" ]; then
        unset IFS
        exec "$directory/cargo" "$@"
    fi
done
echo "cargo: there is none on PATH behind $0 (kache's shim; kache init --undo removes it)" >&2
exit 127
"""


def place(env: Mapping[str, str]) -> Path:
    """Where it lies: a directory of its own, so that whoever takes that off PATH is rid of it."""
    data = env.get("XDG_DATA_HOME", "") or f"{home_dir(env)}/.local/share"
    return Path(data, "kache", "shims", "cargo")


def content(launcher: Path) -> bytes:
    """The script."""
    nothing = " | ".join(_COMPILES_NOTHING.split())
    return _SCRIPT.format(launcher=shlex.quote(str(launcher)), nothing=nothing).encode()


def is_shim(path: str | Path) -> bool:
    """Whether a program is one of these, of this installation or another."""
    try:
        with open(path, "rb") as file:
            return MARK in file.read(_HEAD_BYTES)
    except OSError:
        return False


def real_cargo(env: Mapping[str, str]) -> str | None:
    """The first cargo on PATH that is no shim; None where there is none."""
    return next((path for path in cargos(env) if not is_shim(path)), None)


def plan(wishes: Wishes) -> Step:
    """Look whether it is there and first on PATH."""
    path = place(wishes.env)
    if wishes.launcher is None:
        return Step(NAME, State.SKIP, "no cargo shim", "there is no launcher for it to call")
    wanted = content(wishes.launcher)
    warnings = _not_first(wishes.env, path)
    if path.is_file() and path.read_bytes() == wanted and os.access(path, os.X_OK):
        return Step(NAME, State.DONE, f"{path} runs cargo by kache cargo", warnings=warnings)
    hindrance = obstacle(path)
    if hindrance:
        return Step(NAME, State.SKIP, f"no cargo shim: cannot write {path}", hindrance)
    what = f"write a cargo that runs the real one by kache cargo, to {path}"
    return Step(NAME, State.CHANGE, what, warnings=warnings, writes=(Write(path, wanted, mode=_MODE),))


def _not_first(env: Mapping[str, str], path: Path) -> tuple[str, ...]:
    """Only a start-up file of the shell can put a directory on PATH, and those are the user's."""
    first = next(cargos(env), "")
    if first and os.path.realpath(first) == os.path.realpath(path):
        return ()
    directories = [os.path.realpath(each) for each in env.get("PATH", "").split(os.pathsep) if each]
    if os.path.realpath(path.parent) in directories and not (first and is_shim(first)):
        real = os.path.realpath(os.path.dirname(first)) if first else ""
        if not real or directories.index(os.path.realpath(path.parent)) < directories.index(real):
            return ()  # the file is what is still to be written
    profile = f'export PATH="{path.parent}:$PATH"'
    return (f"the shim is used once it is before cargo on PATH: {profile} in your shell's start-up file",)


def cargos(env: Mapping[str, str]) -> Iterator[str]:
    """Every program of that name on PATH, the first that a shell takes first."""
    for directory in env.get("PATH", "").split(os.pathsep):
        candidate = os.path.join(directory or ".", "cargo")
        if os.path.isfile(candidate) and os.access(candidate, os.X_OK):
            yield candidate
