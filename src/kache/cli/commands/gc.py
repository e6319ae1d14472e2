"""`kache gc`."""

from __future__ import annotations

import argparse

from kache.cli.output import Result
from kache.cli.parser import Examples, option
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.cli.store import changed_store, gc_data
from kache.config.values import parse_duration, parse_size
from kache.reports.render.text import human_bytes, plural

DESCRIPTION = (
    "Evict entries until the store fits its budget: those long unused and cheap to compile again go first.\n"
    "kache does this by itself; what a running build holds is never evicted."
)
EXAMPLES: Examples = (
    ("kache gc", "down to the configured max_size"),
    ("kache gc --max-size 2GiB", "down to 2 GiB, this once"),
    ("kache gc --max-age 30d --dry-run", "say what a month's limit would evict"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--max-size", metavar="SIZE", type=option(parse_size), help="budget (default: max_size)")
    parser.add_argument(
        "--max-age", metavar="AGE", type=option(parse_duration), help="evict what was not used for AGE (7d, 12h)"
    )
    parser.add_argument("--dry-run", "-n", action="store_true", help="change nothing, only say what would go")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Evict."""
    session.warn_of_config_problems()
    budget_bytes = session.config.max_size_bytes if args.max_size is None else args.max_size
    report = None
    with changed_store(session, frees=not args.dry_run) as store, Progress("evicting", session):
        if store is not None:
            report = store.gc(budget_bytes, max_age_s=args.max_age, dry_run=args.dry_run)
    data = {**gc_data(report), "budget_bytes": budget_bytes, "dry_run": args.dry_run}
    verb = "would evict" if args.dry_run else "evicted"
    text = (
        f"{verb} {plural(data['evicted_entries'], 'entry', 'entries')}, {human_bytes(data['freed_bytes'])}; "
        f"{plural(data['kept_entries'], 'entry', 'entries')}, {human_bytes(data['kept_bytes'])} stay"
        f" (budget {human_bytes(budget_bytes)})"
    )
    return Result(data, text)
