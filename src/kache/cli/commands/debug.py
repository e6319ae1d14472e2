"""`kache debug observed CRATE`."""

from __future__ import annotations

import argparse

from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.session import Session
from kache.reports import observed

DESCRIPTION = (
    "Look inside.\n\n"
    "  observed  what a crate's entries depend on (files, directories, variables, programs), and what was seen at\n"
    "            their compile and is no input, each with the reason"
)
EXAMPLES: Examples = (
    ("kache debug observed serde", "what its entries depend on"),
    ("kache debug observed serde --json", "the same, for a script"),
)
ACTIONS = ("observed",)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("crate", metavar="CRATE", help="whose entries")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Look."""
    session.warn_of_config_problems()
    with session.index() as connection:
        closures = observed.collect(connection, args.crate)
    text = observed.to_text(closures, args.crate)
    return Result({"closures": [c.to_json() for c in closures]}, text, command="debug observed")
