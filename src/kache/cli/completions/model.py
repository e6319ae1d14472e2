"""What can be typed, taken from the parsers."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from typing import Any

from kache.cli.parser import actions_of

_PATH_WORDS = frozenset({"DIR", "FILE", "PATH"})


@dataclass(frozen=True, slots=True)
class Option:
    """A flag.

    Attributes:
        names: as typed, long or short.
        help: one line.
        value: what its value is called; empty for a switch.
        choices: the values it can have; empty for any.
        is_path: its value is a path.
    """

    names: tuple[str, ...]
    help: str
    value: str = ""
    choices: tuple[str, ...] = ()
    is_path: bool = False


@dataclass(slots=True)
class Command:
    """A verb, or an action of one.

    Attributes:
        path: words that lead to it: `("config", "set")`.
        help: one line.
        options: its flags.
        words: what its first argument can be; empty for any.
        takes_path: its arguments are paths.
        actions: commands below it.
    """

    path: tuple[str, ...]
    help: str
    options: list[Option] = field(default_factory=list)
    words: tuple[str, ...] = ()
    takes_path: bool = False
    actions: list[Command] = field(default_factory=list)


def commands() -> list[Command]:
    """Every verb."""
    from kache.cli.main import parser_of
    from kache.cli.verbs import VERBS

    found = [_command((verb.name,), verb.help, parser_of(verb)[0]) for verb in VERBS]
    for command in found:
        if command.path == ("help",):
            command.words = tuple(verb.name for verb in VERBS)
    return found


def every(found: list[Command]) -> list[Command]:
    """The commands and the actions below them."""
    return [each for command in found for each in (command, *every(command.actions))]


def _command(path: tuple[str, ...], help_text: str, parser: argparse.ArgumentParser) -> Command:
    command = Command(path, help_text)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            texts = {each.dest: each.help or "" for each in action._choices_actions}
            below = actions_of(parser).items()
            command.actions = [_command((*path, name), texts.get(name, ""), sub) for name, sub in below]
        elif action.option_strings:
            command.options.append(_option(action))
        elif not command.words:
            command.words = words_of(action)
            command.takes_path = command.takes_path or action.metavar in _PATH_WORDS
    return command


def _option(action: argparse.Action) -> Option:
    value = "" if action.nargs == 0 else str(action.metavar or action.dest).upper()
    text = (action.help or "").split(";")[0].split(" (")[0]
    return Option(tuple(action.option_strings), text, value, words_of(action), value in _PATH_WORDS)


def words_of(action: Any) -> tuple[str, ...]:
    """The choices of an argument, or those it only suggests (`parser.suggest`)."""
    return tuple(str(word) for word in action.choices or getattr(action, "suggested", ()))
