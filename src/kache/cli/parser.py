"""argparse, made to answer like the rest of kache."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from kache.errors import UsageError

_INVALID_CHOICE = re.compile(r"invalid choice: '?(.*?)'? \(choose from (.*)\)")
_QUOTED = re.compile(r"'([^']+)'")
Examples = tuple[tuple[str, str], ...]


class Parser(argparse.ArgumentParser):
    """A parser whose errors are `UsageError`s, so that they come in three lines or as JSON."""

    def __init__(self, *, prog: str, description: str, examples: Examples, **given: Any) -> None:
        # 3.14 colours help by itself, which golden files and pagers do not want; it also hands `color` to actions.
        given.pop("color", None)
        plain: dict[str, Any] = {"color": False} if sys.version_info >= (3, 14) else {}
        super().__init__(
            prog=prog,
            description=description,
            epilog=_example_lines(examples),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **plain,
        )
        self.add_argument("--json", action="store_true", help="print one JSON document instead of text")

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print, with the nearest word where one was mistyped."""
        near = self._nearest(message)
        fix = f"did you mean {near}?" if near else f"see {self.prog} --help"
        raise UsageError(message, fix=fix, run=(f"{self.prog} --help",))

    def _nearest(self, message: str) -> str:
        """What was meant instead of an option or a choice that does not exist; empty if nothing is like it."""
        import difflib

        if message.startswith("unrecognized arguments: "):
            word = message.removeprefix("unrecognized arguments: ").split()[0].partition("=")[0]
            known = [name for name in self._option_string_actions if name.startswith("--")] if word[:1] == "-" else []
        elif found := _INVALID_CHOICE.search(message):
            word, known = found[1], _QUOTED.findall(found[2]) or found[2].split(", ")
        else:
            return ""
        return next(iter(difflib.get_close_matches(word, known, n=1)), "")


def refuse_flags_of_others(prog: str, action: str, given: Mapping[str, tuple[bool, tuple[str, ...]]]) -> None:
    """Refuse flags that belong to another action of a verb than the one asked for.

    Args:
        prog: the verb, `kache daemon`.
        action: the action.
        given: flag -> (whether it was given, the actions it goes with).

    Raises:
        UsageError: one was given with an action it means nothing to.
    """
    for flag, (is_given, actions) in given.items():
        if is_given and action not in actions:
            takes = " and ".join(f"{prog} {each}" for each in actions)
            raise UsageError(
                f"{flag} does not go with {prog} {action}", why=f"it belongs to {takes}", fix="leave it out"
            )


def actions_of(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """The parsers of a verb's actions, where it has any."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def suggest(action: argparse.Action, words: Sequence[str]) -> None:
    """Words that completions offer for an argument, where other words are possible or get an error of their own."""
    action.suggested = tuple(words)  # type: ignore[attr-defined]


def option(read: Callable[[object], Any]) -> Callable[[str], Any]:
    """A reader of `config.values` as an argparse type, keeping its words about what would be right."""

    def convert(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} is not {error}") from error

    return convert


def _example_lines(examples: Examples) -> str:
    width = max(len(command) for command, _ in examples)
    return "examples:\n" + "\n".join(f"  {command.ljust(width)}  {meaning}" for command, meaning in examples)
