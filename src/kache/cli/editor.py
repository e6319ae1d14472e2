"""`kache config edit`: an editor on a copy, which replaces the file only if it is right."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from kache.cli.ask import confirmed
from kache.cli.diagnostics import say
from kache.cli.session import Session
from kache.config.load import ConfigProblem, load
from kache.errors import ConfigFileError, UsageError
from kache.setup import files
from kache.setup.settings_file import template


def edit(path: Path, session: Session) -> str:
    """Let the user edit a settings file.

    Returns:
        What became of it.

    Raises:
        UsageError: there is no terminal.
        ConfigFileError: the editor failed, or the file cannot be written.
    """
    if session.as_json or not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("an editor needs a terminal", fix="use kache config set")
    hindrance = files.obstacle(path)
    if hindrance:
        raise ConfigFileError(f"cannot write {path}", why=hindrance, fix="make it writable")
    before = path.read_bytes() if path.exists() else template().encode()
    with tempfile.TemporaryDirectory(prefix="kache-edit-") as scratch:
        copy = Path(scratch, path.name)
        copy.write_bytes(before)
        while True:
            _open_editor(copy, session)
            problems = _problems(copy, session)
            if not problems:
                break
            for problem in problems:
                say(f"{str(problem).replace(str(copy), str(path))}")
            if not confirmed("edit again?", session, fix="use kache config set", default=True):
                return f"nothing saved; {path} is as it was"
        after = copy.read_bytes()
    if after == before:
        return f"no change; {path} is as it was"
    try:
        files.make_directories(path.parent)
        files.replace(path, after)
    except OSError as error:
        raise ConfigFileError(f"cannot write {path}", why=error.strerror or str(error)) from error
    return f"saved {path}"


def _open_editor(copy: Path, session: Session) -> None:
    editor = session.env.get("VISUAL") or session.env.get("EDITOR") or "vi"
    fix = "set VISUAL or EDITOR, or use kache config set; nothing was changed"
    try:
        status = subprocess.run([*shlex.split(editor), str(copy)], check=False).returncode
    except (OSError, ValueError) as error:
        raise ConfigFileError(f"the editor {editor!r} does not run", why=str(error), fix=fix) from error
    if status:
        raise ConfigFileError(f"the editor {editor!r} failed", why=f"it ended with status {status}", fix=fix)


def _problems(copy: Path, session: Session) -> list[ConfigProblem]:
    config = load({"HOME": session.env.get("HOME", ""), "KACHE_CONFIG": str(copy)}, None)
    return [problem for problem in config.problems if problem.origin.startswith(str(copy))]
