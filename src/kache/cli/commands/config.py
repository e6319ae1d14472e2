"""`kache config get|set|unset|list|path|edit`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from kache.cli.colour import DIM, paint
from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples, suggest
from kache.cli.session import Session
from kache.config import paths
from kache.config.load import load
from kache.config.settings import SETTINGS, Setting
from kache.errors import UsageError
from kache.reports.render.text import table

DESCRIPTION = (
    "Look at the settings and change the files that hold them. Values are checked before they are written, comments\n"
    "in the file stay, and a running daemon picks the change up by itself.\n\n"
    "Highest rank first: kache --config NAME=VALUE, environment, .kache.toml of the project, the user's file, the\n"
    "machine's (/etc/xdg/kache/config.toml), default."
)
EXAMPLES: Examples = (
    ("kache config list", "every setting, its value, and where that comes from"),
    ("kache config set max_size 20GiB", "in the user's file"),
    ("kache config set key_salt team-a --project", "in .kache.toml of this project"),
    ("kache config edit", "in $VISUAL or $EDITOR, checked before it is saved"),
    ("kache config tui", "look at them and change them on the screen"),
)
_ACTIONS: tuple[tuple[str, str, Examples], ...] = (
    ("get", "Print the value of one setting.", (("kache config get max_size", "the value in force"),)),
    ("set", "Set one setting in a file.", (("kache config set max_size 20GiB", "in the user's file"),)),
    ("unset", "Remove one setting from a file.", (("kache config unset max_size", "the default again"),)),
    ("list", "List every setting with its value and where that comes from.", (("kache config list", "all of them"),)),
    ("path", "Print the path of the file that set would write.", (("kache config path --project", "this project's"),)),
    ("edit", "Open a file in an editor, and save it if it is right.", (("kache config edit", "the user's file"),)),
    ("tui", "Look at the settings and change them on the screen.", (("kache config tui", "the user's file"),)),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the actions."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, text, examples in _ACTIONS:
        action: Any = actions.add_parser(name, help=text, description=text, examples=examples)
        if name in ("get", "set", "unset"):
            key = action.add_argument("key", metavar="KEY", help="a setting; kache config list names them")
            suggest(key, [setting.name for setting in SETTINGS if name == "get" or not setting.env_only])
        if name == "set":
            action.add_argument("value", metavar="VALUE", help="its new value")
        if name in ("set", "unset", "path", "edit", "tui"):
            where = action.add_mutually_exclusive_group()
            where.add_argument("--project", action="store_true", help="the project's .kache.toml, not the user's file")
            where.add_argument("--file", metavar="FILE", type=Path, help="this file")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Do the action."""
    command = f"config {args.action}"
    if args.action == "get":
        return _get(args.key, session, command)
    if args.action == "list":
        return _list(session, command)
    path = _file(args, session)
    if args.action == "path":
        project = paths.project_config_path(session.cwd) if session.cwd else None
        data = {
            "path": str(path),
            "exists": path.exists(),
            "user": str(_user_file(session)),
            "system": str(paths.system_config_path(session.env)),
            "project": str(project) if project else None,
            "read": [str(each) for each in session.config.files],
        }
        return Result(data, str(path), command=command)
    if args.action == "tui":
        return _tui(path, session, command)
    if args.action == "edit":
        from kache.cli.editor import edit

        return Result({"path": str(path)}, edit(path, session), command=command)
    return _change(args, path, session, command)


def _tui(path: Path, session: Session, command: str) -> Result:
    from kache.cli.screen import refuse_what_cannot_be_drawn_on
    from kache.cli.settings_on_screen import SettingsOnScreen

    refuse_what_cannot_be_drawn_on(session, "an editor on the screen", fix="use kache config list and set")
    from kache.tui.settings import SettingsEditor

    settings = SettingsOnScreen(session, path)
    SettingsEditor(settings).run()
    changed = settings.changed
    text = f"changed in {path}: {', '.join(changed)}" if changed else f"no change; {path} is as it was"
    return Result({"path": str(path), "changed": changed}, text, command=command)


def _get(name: str, session: Session, command: str) -> Result:
    from kache.setup.settings_file import find, shown, value_of

    session.warn_of_config_problems()
    setting = find(name)
    return Result(_row(session, setting), shown(setting, value_of(session.config, setting)), command=command)


def _list(session: Session, command: str) -> Result:
    from kache.setup.settings_file import glance, value_of

    session.warn_of_config_problems()
    rows = [
        [setting.name, glance(setting, value_of(session.config, setting)), session.config.origins[setting.attribute]]
        for setting in SETTINGS
    ]
    data = {"settings": [_row(session, setting) for setting in SETTINGS]}
    heading, *lines = table(["setting", "value", "from"], rows).splitlines()
    meanings = [paint(f"    {setting.doc}", DIM, sys.stdout) for setting in SETTINGS]
    pairs = [line for pair in zip(lines, meanings, strict=True) for line in pair]
    return Result(data, "\n".join([heading, *pairs]), command=command, pages=True)


def _row(session: Session, setting: Setting) -> dict[str, Any]:
    from kache.setup.settings_file import value_of

    return {
        "name": setting.name,
        "value": value_of(session.config, setting),
        "origin": session.config.origins[setting.attribute],
        "type": setting.type,
        "env": setting.env,
        "env_only": setting.env_only,
        "doc": setting.doc,
    }


def _change(args: argparse.Namespace, path: Path, session: Session, command: str) -> Result:
    from kache.setup.settings_file import find, set_value, unset_value, value_of

    setting = find(args.key)
    if args.action == "set":
        set_value(setting, args.value, path)
        text = f"{setting.name} = {args.value} in {path}"
    elif unset_value(setting, path):
        text = f"{setting.name} removed from {path}"
    else:
        text = f"{setting.name} is not set in {path}"
    config = load(session.env, session.cwd)
    origin = config.origins[setting.attribute]
    if args.action == "set" and origin.rpartition(":")[0] != str(path):
        say(f"warning: {setting.name} is {value_of(config, setting)} all the same: {origin} outranks {path}")
    data = {"path": str(path), "name": setting.name, "value": value_of(config, setting), "origin": origin}
    return Result(data, text, command=command)


def _file(args: argparse.Namespace, session: Session) -> Path:
    if args.file is not None:
        return Path(session.cwd or "/", args.file)
    if not args.project:
        return _user_file(session)
    if session.cwd is None:
        raise UsageError("the current directory is gone, so there is no project", fix="name a file with --file")
    return paths.project_config_path(session.cwd) or session.cwd / paths.PROJECT_FILE


def _user_file(session: Session) -> Path:
    named = session.env.get("KACHE_CONFIG", "")
    return (session.cwd or Path("/")) / named if named else paths.user_config_path(session.env)
