"""The settings as the editor on the screen shows and changes them: the table of settings, one file."""

from __future__ import annotations

from pathlib import Path

from kache.cli.session import Session
from kache.config.load import load
from kache.config.settings import SETTINGS, Setting
from kache.errors import KacheError
from kache.setup.settings_file import find, glance, set_value, shown, unset_value, value_of
from kache.tui.settings import Row


class SettingsOnScreen:
    """What `kache.tui.settings` asks of its source.

    Args:
        session: whose settings.
        path: the file that is changed.

    Attributes:
        changed: names of the settings that were changed, in that order.
    """

    def __init__(self, session: Session, path: Path) -> None:
        self._session = session
        self._path = path
        self.changed: list[str] = []

    @property
    def file(self) -> str:
        """The file that is changed."""
        return str(self._path)

    def rows(self) -> list[Row]:
        """Every setting as it is now."""
        config = load(self._session.env, self._session.cwd)
        found = []
        for setting in SETTINGS:
            value = value_of(config, setting)
            origin = config.origins[setting.attribute]
            found.append(
                Row(
                    name=setting.name,
                    value=glance(setting, value),
                    exact=shown(setting, value),
                    origin=origin,
                    doc=setting.doc,
                    kind=setting.type,
                    env=setting.env,
                    choices=("true", "false") if setting.type == "switch" else setting.choices,
                    why_not=_why_not(setting),
                    is_here=origin.rpartition(":")[0] == self.file,
                )
            )
        return found

    def problem(self, name: str, text: str) -> str:
        """What is wrong with a value; empty if it would do."""
        try:
            find(name).parse(text)
        except ValueError as error:
            return f"write {error}"
        return ""

    def put(self, name: str, text: str) -> str:
        """Write a value; what went wrong, or what it is worth all the same. Empty if all is well."""
        try:
            set_value(find(name), text, self._path)
        except KacheError as error:
            return error.line
        self._note(name)
        return self._outranked(name)

    def remove(self, name: str) -> str:
        """Take a value out of the file; what went wrong, else empty."""
        try:
            was_there = unset_value(find(name), self._path)
        except KacheError as error:
            return error.line
        if not was_there:
            return f"{name} is not set in {self.file}"
        self._note(name)
        return ""

    def _note(self, name: str) -> None:
        if name not in self.changed:
            self.changed.append(name)

    def _outranked(self, name: str) -> str:
        setting = find(name)
        origin = load(self._session.env, self._session.cwd).origins[setting.attribute]
        if origin.rpartition(":")[0] == self.file:
            return ""
        return f"saved, but {origin} outranks {self.file}"


def _why_not(setting: Setting) -> str:
    return f"the launcher needs it before any file is read: set {setting.env}" if setting.env_only else ""
