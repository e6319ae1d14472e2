"""`kache help`."""

from __future__ import annotations

import argparse

from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.session import Session
from kache.cli.verbs import VERBS

DESCRIPTION = "Explain a command, or list them all."
EXAMPLES: Examples = (
    ("kache help", "list the commands"),
    ("kache help why-miss", "explain one"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("verb", metavar="COMMAND", nargs="?", help="the command to explain")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Explain."""
    from kache.cli.main import find_verb, overview, parser_of

    if args.verb is None:
        return Result({"commands": [{"name": verb.name, "help": verb.help} for verb in VERBS]}, overview())
    verb = find_verb(args.verb)
    text = parser_of(verb)[0].format_help().rstrip("\n")
    return Result({"commands": [{"name": verb.name, "help": verb.help}], "text": text}, text)
