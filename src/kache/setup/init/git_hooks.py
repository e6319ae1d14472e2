"""Hooks of one git repository that have kache fetch what a build of the new checkout will want.

They lie where git looks for this repository, which `core.hooksPath` may say. A hook that is there is moved to a name
beside it and run first, with the words, the input and the exit status it had. Undo puts it back.
"""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from kache.setup.files import obstacle
from kache.setup.init.step import State, Step, Wishes, Write

NAME = "git-hooks"
MARK = b"# kache-git-hook"
HOOKS = ("post-checkout", "post-merge", "post-rewrite")
_ASIDE = ".before-kache"
_LEGACY = ".legacy"  # where pre-commit moves a hook that it finds, and calls it from there
_MODE = 0o755
_LIMIT_S = 10
_SCRIPT = """\
#!/bin/sh
# kache-git-hook: made by `kache init --git-hooks`; `kache init --undo` removes it.
# Has kache fetch in the background what a build of this checkout will want. The hook that was here runs first.
before="${{0%/*}}/{name}{aside}"
status=0
if [ -x "$before" ]; then
    "$before" "$@"
    status=$?
fi
kache={launcher}
if [ -x "$kache" ] && [ -e Cargo.toml ]{condition}; then
    "$kache" prefetch --quiet --background </dev/null >/dev/null 2>&1 &
fi
exit "$status"
"""
_CONDITIONS = {"post-checkout": ' && [ "$3" = 1 ]'}
"""Git says 1 for a change of branches, 0 for files that are checked out."""


def content(name: str, launcher: Path) -> bytes:
    """One hook."""
    condition = _CONDITIONS.get(name, "")
    return _SCRIPT.format(name=name, aside=_ASIDE, launcher=shlex.quote(str(launcher)), condition=condition).encode()


def directory_of(wishes: Wishes) -> Path | str:
    """Where git looks for the hooks of the repository here; a text that says why there is none."""
    answer = _git(wishes, "rev-parse", "--show-toplevel", "--git-path", "hooks")
    if isinstance(answer, str):
        return answer
    top, hooks = answer
    directory = Path(wishes.cwd or "/", hooks).resolve()
    common = _git(wishes, "rev-parse", "--git-common-dir")
    own = [] if isinstance(common, str) else [Path(wishes.cwd or "/", common[0]).resolve()]
    if directory.is_relative_to(Path(top).resolve()) and not any(directory.is_relative_to(each) for each in own):
        line = "kache prefetch --quiet --background"
        return f"core.hooksPath leads into the checkout ({directory}), which is everybody's; add there: {line}"
    return directory


def plan(wishes: Wishes) -> Step:
    """Look at the hooks of the repository here."""
    if wishes.launcher is None:
        return Step(NAME, State.SKIP, "no git hooks", "there is no launcher for them to call")
    directory = directory_of(wishes)
    if isinstance(directory, str):
        return Step(NAME, State.SKIP, "no git hooks", directory)
    writes: list[Write] = []
    for name in HOOKS:
        found = _writes(directory, name, wishes.launcher)
        if isinstance(found, str):
            return Step(NAME, State.SKIP, f"no git hooks in {directory}", found)
        writes += found
    names = ", ".join(HOOKS)
    if not writes:
        return Step(NAME, State.DONE, f"{names} in {directory} call kache prefetch")
    kept = [write.path.name for write in writes if write.path.name.endswith(_ASIDE)]
    what = f"have {names} in {directory} call kache prefetch" + (
        f", after the hooks that are there ({', '.join(each.removesuffix(_ASIDE) for each in kept)})" if kept else ""
    )
    return Step(NAME, State.CHANGE, what, warnings=_shared(wishes, directory), writes=tuple(writes))


def _writes(directory: Path, name: str, launcher: Path) -> list[Write] | str:
    """What one hook needs; a text that says why it cannot be had."""
    path, aside = directory / name, directory / f"{name}{_ASIDE}"
    if _is_ours(directory / f"{name}{_LEGACY}"):
        return []  # a manager of hooks has moved ours there, and calls it
    if path.is_symlink():
        return f"{path} is a symbolic link; add to what it leads to: kache prefetch --quiet --background"
    wanted = content(name, launcher)
    if path.is_file() and path.read_bytes() == wanted and os.access(path, os.X_OK):
        return []
    hindrance = obstacle(path)
    if hindrance:
        return f"cannot write {path}: {hindrance}"
    hook = Write(path, wanted, mode=_MODE)
    if not path.is_file() or _is_ours(path) or not os.access(path, os.X_OK):  # git runs no hook that is not executable
        return [hook]
    if aside.exists():
        return f"{aside} is there already, and {path} is not kache's; move one of them away"
    return [Write(aside, path.read_bytes(), mode=path.stat().st_mode & 0o777), hook]


def _is_ours(path: Path) -> bool:
    try:
        return MARK in path.read_bytes()[:256]
    except OSError:
        return False


def _shared(wishes: Wishes, directory: Path) -> tuple[str, ...]:
    common = _git(wishes, "rev-parse", "--git-common-dir")
    if isinstance(common, str) or directory.is_relative_to(Path(wishes.cwd or "/", common[0]).resolve()):
        return ()
    return (f"core.hooksPath has {directory} serve other repositories too; in them the hooks do the same",)


def _git(wishes: Wishes, *words: str) -> list[str] | str:
    """The lines git answers; a text that says why there is no answer."""
    if wishes.cwd is None:
        return "the current directory is gone"
    try:
        done = subprocess.run(
            ["git", *words],
            cwd=wishes.cwd,
            env=dict(wishes.env),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"git does not run: {error}"
    if done.returncode:
        return f"{wishes.cwd} is in no git checkout"
    return done.stdout.splitlines()
