"""`kache monitor`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kache.cli.output import Result
from kache.cli.parser import Examples, option
from kache.cli.session import Session
from kache.cli.store import changed_store
from kache.config.values import parse_duration
from kache.errors import KacheError, OutputError, UsageError
from kache.reports.render.text import human_bytes, plural

if TYPE_CHECKING:
    from kache.tui.source import Source

DESCRIPTION = (
    "Watch builds as they run, and look around in what happened.\n\n"
    "  1 Builds    cargo commands, running ones marked; below, what compiles now and how each call ended\n"
    "  2 Why       causes of misses, passthroughs, crates that are compiled again and again\n"
    "  3 Projects  target directories: own and shared bytes, what the store could put back\n"
    "  4 Store     entries; s changes the order, d deletes those of a crate\n\n"
    "Keys: 1-4, arrows, / to filter, r to measure again, t for light or dark, q to quit; or the mouse."
)
EXAMPLES: Examples = (
    ("kache monitor", "beside a build"),
    ("kache monitor --since 24h", "of the last day alone"),
    ("kache monitor --snapshot -", "one frame as text"),
    ("kache monitor --snapshot store.svg --tab store", "one frame as a picture"),
)
MIN_COLUMNS, MIN_ROWS = 60, 16
TABS = ("builds", "why", "projects", "store")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument(
        "--since", metavar="AGE", type=option(parse_duration), default=7 * 86400.0, help="how far back (default: 7d)"
    )
    parser.add_argument("--tab", choices=TABS, default=TABS[0], help="of the snapshot (default: builds)")
    parser.add_argument("--snapshot", metavar="FILE", help="write one frame, as text or as FILE.svg; - prints it")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Watch."""
    session.warn_of_config_problems()
    if args.snapshot is None:
        _refuse_what_cannot_be_drawn_on(session)
    from kache.tui.source import Source

    source = Source(session.config, args.since)
    if args.snapshot is not None:
        return _snapshot(args, session, source)
    from kache.tui.app import Monitor

    def purge(crate: str) -> str:
        try:
            with changed_store(session) as store:
                report = store.purge(crate) if store is not None else None
        except KacheError as error:
            return error.line
        freed, count = (report.freed_bytes, report.evicted_entries) if report else (0, 0)
        return f"deleted {plural(count, 'entry', 'entries')} of {crate}, {human_bytes(freed)}"

    Monitor(source, purge).run()
    return Result({})


def _refuse_what_cannot_be_drawn_on(session: Session) -> None:
    fix = "use kache report, or --snapshot -"
    if session.as_json:
        raise UsageError("a monitor prints no JSON", fix="use kache report --json")
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("a monitor needs a terminal", fix=fix)
    if os.environ.get("TERM", "dumb") == "dumb":
        raise UsageError("this terminal (TERM=dumb) cannot be drawn on", fix=fix)
    size = os.get_terminal_size()
    if size.columns < MIN_COLUMNS or size.lines < MIN_ROWS:
        what = f"the terminal has {size.columns}x{size.lines} characters"
        raise UsageError(what, why=f"the monitor needs {MIN_COLUMNS}x{MIN_ROWS}", fix=f"make it larger, or {fix}")


def _snapshot(args: argparse.Namespace, session: Session, source: Source) -> Result:
    from kache.tui.frame import frame

    session.flush_daemon()
    columns = int(session.env.get("COLUMNS") or 100)
    as_svg = args.snapshot.endswith(".svg")
    text = frame(source, tab=args.tab, columns=columns, rows=30, as_svg=as_svg)
    if args.snapshot == "-":
        return Result({"frame": text}, text.rstrip("\n"))
    path = Path(session.cwd or "/", args.snapshot)
    try:
        path.write_text(text)
    except OSError as error:
        raise OutputError(f"cannot write {path}", why=error.strerror or str(error)) from error
    return Result({"path": str(path)}, f"wrote {path}")
