"""`kache why-miss`."""

from __future__ import annotations

import argparse
import time

from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.reports import why_miss
from kache.reports.render.why_miss import to_text

DESCRIPTION = (
    "Say why compiles were not hits: which file, flag, environment variable, dependency or toolchain\n"
    "differs from the nearest earlier compile of the same unit, or why a call went past the cache."
)
EXAMPLES: Examples = (
    ("kache why-miss", "every call of the last build that was no hit"),
    ("kache why-miss serde", "the latest misses of one crate"),
    ("kache why-miss serde --last-build", "those of the last build alone"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("crate", metavar="CRATE", nargs="?", help="only this crate, in all builds")
    parser.add_argument(
        "--last-build", action="store_true", help="only the newest cargo run (the default without CRATE)"
    )


def run(args: argparse.Namespace, session: Session) -> Result:
    """Explain."""
    session.warn_of_config_problems()
    with session.index() as connection, Progress("comparing inputs", session):
        report = why_miss.collect(connection, args.crate, only_last_build=args.last_build)
    return Result(report.to_json(), to_text(report, args.crate, time.time_ns()), pages=True)
