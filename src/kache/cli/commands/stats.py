"""`kache stats`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from kache.cli.output import Result
from kache.cli.parser import Examples, option
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.config.values import parse_duration
from kache.reports import stats
from kache.reports.database import Window, last_build

DESCRIPTION = "Count how rustc calls ended, what the hits saved and what the store takes."
EXAMPLES: Examples = (
    ("kache stats", "everything the store remembers"),
    ("kache stats --since 24h --root .", "the last day in this project"),
    ("kache stats --last-build --json", "the newest cargo run, for a script"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    narrow = parser.add_mutually_exclusive_group()
    narrow.add_argument(
        "--since", metavar="AGE", type=option(parse_duration), help="only calls of the last AGE (30m, 24h, 7d)"
    )
    narrow.add_argument("--last-build", action="store_true", help="only calls of the newest cargo run")
    parser.add_argument("--root", metavar="DIR", type=Path, help="only builds that ran in DIR or below it")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Count."""
    session.warn_of_config_problems()
    with session.index() as connection, Progress("counting", session):
        root = session.real_path(args.root)
        window = Window(root=root)
        if args.last_build:
            window = Window(build=last_build(connection, root) if connection else "")
        elif args.since is not None:
            window = Window(since_ns=time.time_ns() - int(args.since * 1e9), root=root)
        found = stats.collect(connection, window, session.config.max_size_bytes)
    return Result(found.to_json(), stats.to_text(found))
