"""Change one key of a TOML text and nothing else: comments, order and blank lines stay.

tomlkit is loaded by the few commands that write a file, never on the way of a compile.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Comment, Table, Whitespace

from kache.errors import ConfigFileError
from kache.util.toml_lines import error_line

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

Value = str | int | float | bool


def with_value(text: str, path: Path, table: str, key: str, value: Value) -> str:
    """The text with `key = value` in `[table]`.

    Args:
        text: of the file; may be empty.
        path: the file, for messages.
        table: name of a top-level table, made at the end where there is none.
        key: in the table.
        value: what TOML can say.

    Raises:
        ConfigFileError: the text is not TOML, or the table's name is taken by something else.
    """
    wanted = _plain(text, path)
    wanted.setdefault(table, {})
    if not isinstance(wanted[table], dict):
        raise ConfigFileError(f"{path}: {table!r} is not a table", fix=f"make it a [{table}] table")
    wanted[table][key] = value
    unix, restore = _line_ends(text)
    document = _parsed(unix, path)
    if table in document:
        _put(document, table, key, value)
        changed = tomlkit.dumps(document)
    else:
        gap = "" if not unix else "\n" if unix.endswith("\n") else "\n\n"
        changed = f"{unix}{gap}[{table}]\n{tomlkit.item(key).as_string() if _odd(key) else key} = {_literal(value)}\n"
    return _checked(restore(changed), wanted, path)


def without(text: str, path: Path, table: str, key: str) -> str:
    """The text without the key; a table that has nothing left, not even a comment, goes with it.

    Raises:
        ConfigFileError: the text is not TOML.
    """
    wanted = _plain(text, path)
    if not isinstance(wanted.get(table), dict) or key not in wanted[table]:
        return text
    del wanted[table][key]
    unix, restore = _line_ends(text)
    document = _parsed(unix, path)
    del document[table][key]
    if not wanted[table] and not tomlkit.dumps(document[table]).strip():
        del document[table]
        del wanted[table]
        left = tomlkit.dumps(document).rstrip("\n")
        return _checked(restore(f"{left}\n" if left else ""), wanted, path)
    return _checked(restore(tomlkit.dumps(document)), wanted, path)


def _put(document: TOMLDocument, table: str, key: str, value: Value) -> None:
    inside = document[table]
    # What follows a blank line at the table's end is about the next one: a new key goes above it.
    tail: list[Any] = []
    if isinstance(inside, Table) and key not in inside:
        body = inside.value.body
        start = max((at + 1 for at, (name, _) in enumerate(body) if name is not None), default=0)
        while start < len(body) and isinstance(body[start][1], Comment):
            start += 1
        if all(isinstance(item, Whitespace | Comment) for _, item in body[start:]):
            tail = body[start:]
            del body[start:]
    inside[key] = value
    if tail:
        inside.value.body.extend(tail)


def _plain(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigFileError(f"{path}:{error_line(str(error), text)} is not TOML", why=str(error)) from error


def _parsed(text: str, path: Path) -> TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise ConfigFileError(f"{path} cannot be changed by kache", why=str(error), fix="change it by hand") from error


def _checked(text: str, wanted: dict[str, Any], path: Path) -> str:
    """A text that does not say what it should is worse than none."""
    try:
        right = tomllib.loads(text) == wanted
    except tomllib.TOMLDecodeError:
        right = False
    if not right:
        raise ConfigFileError(f"{path} is written in a way kache cannot change", fix="change it by hand")
    return text if not text or text.endswith("\n") else f"{text}\n"


def _line_ends(text: str) -> tuple[str, Any]:
    if "\r\n" in text and "\n" not in text.replace("\r\n", ""):
        return text.replace("\r\n", "\n"), lambda changed: changed.replace("\n", "\r\n")
    return text, lambda changed: changed


def _literal(value: Value) -> str:
    return str(tomlkit.item(value).as_string())


def _odd(key: str) -> bool:
    return not key.replace("-", "").replace("_", "").isalnum()
