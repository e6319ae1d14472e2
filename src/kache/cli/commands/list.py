"""`kache list`."""

from __future__ import annotations

import argparse
import time

from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.reports import listing
from kache.reports.database import near_name

DESCRIPTION = "List the entries of the store."
EXAMPLES: Examples = (
    ("kache list", "all entries by name"),
    ("kache list serde --json", "those of one crate, for a script"),
    ("kache list --sort size", "the largest first"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("crate", metavar="CRATE", nargs="?", help="only this crate")
    parser.add_argument(
        "--sort",
        choices=listing.SORTS,
        default="name",
        help="order of the rows; age puts the longest unused first (default: name)",
    )


def run(args: argparse.Namespace, session: Session) -> Result:
    """List."""
    session.warn_of_config_problems()
    with session.index() as connection, Progress("reading the index", session):
        rows = listing.collect(connection, args.crate, args.sort)
        total_bytes = listing.allocated_bytes(connection, args.crate)
        near = near_name(connection, args.crate, "entries") if connection and args.crate and not rows else ""
    data = {"entries": [row.to_json() for row in rows], "allocated_bytes": total_bytes, "near": near}
    return Result(data, listing.to_text(rows, time.time_ns(), total_bytes, near), pages=True)
