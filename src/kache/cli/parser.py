"""argparse, made to answer like the rest of kache."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from kache.errors import UsageError

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
        """Raise what argparse would print."""
        raise UsageError(message, fix=f"see {self.prog} --help")


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
