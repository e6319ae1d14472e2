"""`kache purge`."""

from __future__ import annotations

import argparse

from kache.cli.ask import confirmed
from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.cli.store import changed_store, gc_data
from kache.reports.render.text import human_bytes, plural

DESCRIPTION = "Delete every entry of the store, or those of one crate. Target directories keep their files."
EXAMPLES: Examples = (
    ("kache purge", "everything, after a question"),
    ("kache purge --yes", "everything, without one"),
    ("kache purge --crate-name serde --yes", "one crate"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--crate-name", metavar="CRATE", help="only this crate")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Delete."""
    session.warn_of_config_problems()
    what = f"every entry of {args.crate_name}" if args.crate_name else "every entry"
    if not args.yes and not confirmed(f"delete {what} in {session.config.cache_dir}?", session, fix="add --yes"):
        return Result(gc_data(None), "nothing deleted", exit_code=1)
    report = None
    is_all = args.crate_name is None
    with changed_store(session, heal=is_all, frees=is_all) as store, Progress("deleting", session):
        if store is not None:
            # rustc's crate names have underscores where people write the package's dashes.
            report = store.purge(args.crate_name.replace("-", "_") if args.crate_name else None)
    data = gc_data(report)
    entries = plural(data["evicted_entries"], "entry", "entries")
    return Result(data, f"deleted {entries}, {human_bytes(data['freed_bytes'])}")
