"""Entry of the command line: find the verb, import only its module, run it, turn failures into exit codes."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Protocol, cast

from kache import __version__
from kache.cli import diagnostics
from kache.cli.output import Result, print_result
from kache.cli.parser import Examples, Parser
from kache.cli.session import Session
from kache.cli.verbs import VERBS, Verb
from kache.errors import KacheError, UsageError

_EVERYWHERE = ("--json", "--help", "-h")
"""Flags of every verb."""


class Command(Protocol):
    """What a module under `commands/` offers."""

    DESCRIPTION: str
    EXAMPLES: Examples

    def configure(self, parser: argparse.ArgumentParser) -> None:
        """Add the verb's own flags."""

    def run(self, args: argparse.Namespace, session: Session) -> Result:
        """Do it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; the process's own when None.

    Returns:
        The exit status: 0, 1 for a known failure or bad news, 2 for wrong usage, 3 for a bug, 130 for Ctrl-C.
    """
    _take_interrupts()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        flags = _flags(words)
    except UsageError as error:
        return diagnostics.report_known("", error, as_json="--json" in words)
    own, others = _apart(words)
    as_json = "--json" in own
    command = next((word for word in own if not word.startswith("-")), "")
    try:
        return _run(own, others, flags, as_json=as_json)
    except UsageError as error:
        if command and error.next_commands == UsageError.next_commands:
            error.next_commands = (f"kache {command} --help",)
        return diagnostics.report_known(command, error, as_json=as_json)
    except KacheError as error:
        return diagnostics.report_known(command, error, as_json=as_json)
    except KeyboardInterrupt:
        return diagnostics.report_interrupted(command, as_json=as_json)
    except Exception as error:  # noqa: BLE001 - the last line before the interpreter: a bug still ends as JSON and code 3
        return diagnostics.report_unforeseen(command, error, as_json=as_json)


def _take_interrupts() -> None:
    """From here on a Ctrl-C is an exception; until now, while modules were loaded, it ended the process at once."""
    import signal

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _flags(words: list[str]) -> frozenset[str]:
    """Settings given in front of the command; their module is loaded where there are any."""
    if not any(word.partition("=")[0] == "--config" for word in words):
        return frozenset()
    from kache.cli.flags import take

    return take(words, os.environ)


def _apart(words: list[str]) -> tuple[list[str], list[str]]:
    """The words that are kache's, and those of the program that a verb runs, `--` before them."""
    at = next((at for at, word in enumerate(words) if not word.startswith("-")), len(words))
    if not any(verb.passes_on and words[at : at + 1] == [verb.name] for verb in VERBS):
        return words, []
    at += 1
    while words[at : at + 1] and words[at] in _EVERYWHERE:
        at += 1
    others = words[at:]
    return words[:at], others if others[:1] == ["--"] else ["--", *others]


def parser_of(verb: Verb) -> tuple[Parser, Command]:
    """The parser of one verb and the module that serves it."""
    command = cast(Command, import_module(f"kache.cli.commands.{verb.module}"))
    parser = Parser(prog=f"kache {verb.name}", description=command.DESCRIPTION, examples=command.EXAMPLES)
    command.configure(parser)
    return parser, command


def find_verb(name: str) -> Verb:
    """The verb of that name.

    Raises:
        UsageError: there is none; the fix names the nearest.
    """
    for verb in VERBS:
        if verb.name == name:
            return verb
    import difflib

    near = difflib.get_close_matches(name, [verb.name for verb in VERBS], n=1)
    fix = f"did you mean kache {near[0]}?" if near else "see kache help"
    raise UsageError(
        f"kache has no command {name!r}", fix=fix, run=(f"kache {near[0]} --help" if near else "kache help",)
    )


def overview() -> str:
    """The text of `kache help`."""
    width = max(len(verb.name) for verb in VERBS)
    lines = [f"  {verb.name.ljust(width)}  {verb.help}" for verb in VERBS]
    return "\n".join(
        [
            f"kache {__version__}: a compile cache for Rust",
            "",
            "usage: kache cargo build               cargo build, cached; nothing is set up for it",
            "       kache init                      set it up for every cargo of this user",
            "       RUSTC_WRAPPER=kache cargo build",
            "       kache [--config NAME=VALUE] COMMAND [--json] [OPTION...]",
            "",
            "commands:",
            *lines,
            "",
            "kache COMMAND --help explains one of them.",
        ]
    )


def _run(words: list[str], others: list[str], flags: frozenset[str], *, as_json: bool) -> int:
    leading = []
    while words and words[0].startswith("-"):
        leading.append(words.pop(0))
    for word in leading:
        if word not in ("--json", "--help", "-h", "--version", "-V"):
            raise UsageError(f"kache has no option {word!r} before the command", fix="see kache help")
    if "--version" in leading or "-V" in leading:
        print_result("version", Result({"version": __version__}, f"kache {__version__}"), as_json=as_json)
        return 0
    if not words or "--help" in leading or "-h" in leading:
        words, others = ["help", *words[:1]], []
    verb = find_verb(words[0])
    parser, command = parser_of(verb)
    try:
        args = parser.parse_args([*words[1:], *others])
    except SystemExit as end:  # --help printed itself
        sys.stdout.flush()
        return int(end.code or 0)
    result = command.run(args, Session.open(os.environ, as_json=as_json, flags=flags))
    print_result(verb.name, result, as_json=as_json)
    sys.stdout.flush()
    return result.exit_code
