"""`kache monitor`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kache.cli.output import Result
from kache.cli.parser import Examples, option
from kache.cli.screen import refuse_what_cannot_be_drawn_on
from kache.cli.session import Session
from kache.cli.store import changed_store
from kache.config.values import parse_duration
from kache.errors import KacheError, OutputError, UsageError
from kache.reports.render.text import human_bytes, plural
from kache.tui.styles import MIN_COLUMNS, MIN_ROWS

if TYPE_CHECKING:
    from kache.tui.source import Source

DESCRIPTION = (
    "Watch builds as they run, and look around in what happened. The daemon tells each call as it ends.\n\n"
    "  1 Builds     cargo commands, running ones marked with how far they are; what compiles now; how each call ended\n"
    "  2 Why        causes of misses, passthroughs, crates that are compiled again and again\n"
    "  3 Projects   target directories: own and shared bytes, what the store could put back\n"
    "  4 Store      entries; d deletes those of a crate\n"
    "  5 Transfers  remotes: whether they answer, speed, what waits to be sent, what went wrong, the budget\n"
    "  6 Planner    the last plan: what was predicted, used, late\n\n"
    "Keys: 1-6, arrows, / to search, s for another order, r to measure again, t for light or dark, q to quit.\n"
    "The mouse chooses tabs and rows; a click on a heading sorts by it."
)
EXAMPLES: Examples = (
    ("kache monitor", "beside a build"),
    ("kache monitor --since 24h", "of the last day alone"),
    ("kache monitor --snapshot", "one frame as text"),
    ("kache monitor --snapshot store.svg --tab store --light", "one frame as a picture"),
)
TABS = ("builds", "why", "projects", "store", "transfers", "planner")
MAX_CHARACTERS = 1000
"""Of a snapshot, each way."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument(
        "--since", metavar="AGE", type=option(parse_duration), default=7 * 86400.0, help="how far back (default: 7d)"
    )
    parser.add_argument(
        "--snapshot", metavar="FILE", nargs="?", const="-", help="print one frame, or write it to FILE or FILE.svg"
    )
    parser.add_argument("--tab", choices=TABS, help="of the snapshot (default: builds)")
    parser.add_argument("--size", metavar="WxH", type=option(_size), help="of the snapshot (default: 100x30)")
    parser.add_argument("--light", action="store_true", help="the light theme")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Watch."""
    session.warn_of_config_problems()
    if args.snapshot is None and (args.tab or args.size):
        raise UsageError("--tab and --size are of a snapshot", fix="add --snapshot, or leave them out")
    if args.snapshot is None:
        if session.as_json:
            raise UsageError("a monitor prints no JSON", fix="use kache report --json")
        refuse_what_cannot_be_drawn_on(session, "the monitor", fix="use kache report, or --snapshot")
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

    Monitor(source, purge, light=args.light).run()
    return Result({})


def _size(value: object) -> tuple[int, int]:
    columns, cross, rows = str(value).lower().partition("x")
    size = (int(columns), int(rows)) if cross and columns.isdigit() and rows.isdigit() else (0, 0)
    if not (MIN_COLUMNS <= size[0] <= MAX_CHARACTERS and MIN_ROWS <= size[1] <= MAX_CHARACTERS):
        raise ValueError(
            f"a size in characters from {MIN_COLUMNS}x{MIN_ROWS} to {MAX_CHARACTERS}x{MAX_CHARACTERS}, as 100x30"
        )
    return size


def _snapshot(args: argparse.Namespace, session: Session, source: Source) -> Result:
    from kache.tui.frame import frame

    with session.index():  # one that cannot be read is an error here, not a line in a frame
        pass
    columns = session.env.get("COLUMNS", "")
    size = args.size or (int(columns) if columns.isdigit() and int(columns) >= MIN_COLUMNS else 100, 30)
    as_svg = args.snapshot.endswith(".svg")
    text = frame(source, args.tab or TABS[0], size, as_svg=as_svg, light=args.light)
    if args.snapshot == "-":
        return Result({"frame": text}, text.rstrip("\n"))
    path = Path(session.cwd or "/", args.snapshot)
    try:
        path.write_text(text)
    except OSError as error:
        raise OutputError(f"cannot write {path}", why=error.strerror or str(error)) from error
    return Result({"path": str(path)}, f"wrote {path}")
