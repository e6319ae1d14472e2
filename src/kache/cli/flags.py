"""`kache --config NAME=VALUE COMMAND`: settings for one command, above every other place, as cargo has it."""

from __future__ import annotations

from collections.abc import MutableMapping

from kache.config.settings import SETTINGS
from kache.errors import UsageError

FLAG = "--config"


def take(words: list[str], env: MutableMapping[str, str]) -> frozenset[str]:
    """Take the flags in front of the command out of the words, and put what they say into the environment.

    So the daemon and the programs that a command starts go by them too.

    Returns:
        The attributes of the settings they name.

    Raises:
        UsageError: one has no value, names no setting, or gives what is no value for it.
    """
    found = set()
    while at := _position(words):
        text = words[at - 1].partition("=")[2] if "=" in words[at - 1] else "".join(words[at : at + 1])
        del words[at - 1 : at + ("=" not in words[at - 1])]
        found.add(_set(text, env))
    return frozenset(found)


def _position(words: list[str]) -> int:
    """One more than where the first stands; 0 for none before the command."""
    for at, word in enumerate(words, 1):
        if word == FLAG or word.startswith(f"{FLAG}="):
            return at
        if not word.startswith("-"):
            break
    return 0


def _set(text: str, env: MutableMapping[str, str]) -> str:
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise UsageError(f"{FLAG} takes NAME=VALUE, not {text!r}", fix="as in kache --config max_size=20GiB gc")
    setting = next((each for each in SETTINGS if each.name == name), None)
    if setting is None:
        import difflib

        near = difflib.get_close_matches(name, [each.name for each in SETTINGS], n=1)
        raise UsageError(
            f"kache has no setting {name!r}", fix=f"did you mean {near[0]}?" if near else "see kache config list"
        )
    try:
        setting.parse(value)
    except ValueError as error:
        raise UsageError(f"{value!r} is not a value for {name}", why=f"it takes {error}") from error
    env[setting.env] = value
    return setting.attribute
