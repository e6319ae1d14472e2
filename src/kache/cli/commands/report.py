"""`kache report`."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from kache.cli.output import SCHEMA_VERSION, Result
from kache.cli.parser import Examples, option
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.config.values import parse_duration
from kache.errors import OutputError, UsageError
from kache.reports import build_report
from kache.reports.build_report import Report
from kache.reports.database import Window, last_build
from kache.reports.render.text import human_duration

DESCRIPTION = (
    "Report what builds did, unit by unit: how each call ended and why, what cargo waited for, what was saved.\n"
    "One build is one cargo command. Without --since it is about the newest.\n\n"
    "  text      for a terminal\n"
    "  json      the document that docs/reference/report.schema.json describes\n"
    "  markdown  tables\n"
    "  github    for a step summary; appended to $GITHUB_STEP_SUMMARY where that is set\n"
    "  html      one file with charts, for a browser\n"
    "  perfetto  a trace for ui.perfetto.dev or chrome://tracing"
)
EXAMPLES: Examples = (
    ("kache report", "the newest build"),
    ("kache report --since 7d --root . --top 20", "a week of this project"),
    ("kache report --format html -o report.html", "with charts"),
    ("kache report --format github", "in a CI step, after the build"),
    ("kache report --format perfetto -o trace.json", "a timeline to zoom in"),
)
FORMATS = ("text", "json", "markdown", "github", "html", "perfetto")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    narrow = parser.add_mutually_exclusive_group()
    narrow.add_argument(
        "--since", metavar="AGE", type=option(parse_duration), help="all builds of the last AGE (30m, 24h, 7d)"
    )
    narrow.add_argument("--last-build", action="store_true", help="the newest cargo command (the default)")
    parser.add_argument("--root", metavar="DIR", type=Path, help="only builds that ran in DIR or below it")
    parser.add_argument("--top", metavar="N", type=int, default=10, help="rows of each table (default: 10)")
    parser.add_argument("--format", choices=FORMATS, default="text", help="see above (default: text)")
    parser.add_argument("--output", "-o", metavar="FILE", type=Path, help="write there, not to standard output")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Report."""
    session.warn_of_config_problems()
    if args.top < 1:
        raise UsageError(f"--top {args.top} shows nothing", fix="give a number from 1 on")
    if session.as_json and args.format not in ("text", "json"):
        raise UsageError(f"--json and --format {args.format} contradict each other", fix="leave one of them out")
    report = _collect(args, session)
    if session.as_json:
        return Result(report.to_json(), "")
    text = _drawn(report, args.format, args.top)
    place, appends = args.output, False
    if place is None and args.format == "github" and session.env.get("GITHUB_STEP_SUMMARY"):
        place, appends = Path(session.env["GITHUB_STEP_SUMMARY"]), True
    if place is None:
        return Result(report.to_json(), text, pages=args.format in ("text", "markdown"))
    _write(place, text, appends=appends)
    return Result(report.to_json(), f"wrote {place}")


def _collect(args: argparse.Namespace, session: Session) -> Report:
    root = session.real_path(args.root)
    place = f" in {root}" if root else ""
    now_ns = time.time_ns()
    with session.index() as connection, Progress("reading what happened", session):
        if args.since is None:
            build = last_build(connection, root) if connection else ""
            window, scope = Window(build=build), f"last build{place}"
        else:
            window = Window(since_ns=now_ns - int(args.since * 1e9), root=root)
            scope = f"last {human_duration(args.since)}{place}"
        return build_report.collect(
            connection, window, scope=scope, max_bytes=session.config.max_size_bytes, now_ns=now_ns
        )


def _drawn(report: Report, form: str, top: int) -> str:
    if form == "json":
        document = {"schema_version": SCHEMA_VERSION, "command": "report", "success": True, "data": report.to_json()}
        return json.dumps(document, indent=2)
    if form == "perfetto":
        from kache.reports.render.perfetto import to_trace

        return json.dumps(to_trace(report), separators=(",", ":"))
    if form == "html":
        from kache.reports.render.html import to_html

        return to_html(report, top).rstrip("\n")
    if form == "text":
        from kache.reports.render.report_text import to_text

        return to_text(report, top)
    from kache.reports.render import markdown

    return markdown.to_github(report, top) if form == "github" else markdown.to_markdown(report, top)


def _write(place: Path, text: str, *, appends: bool) -> None:
    try:
        with place.open("a" if appends else "w", encoding="utf-8") as file:
            file.write(f"{text}\n")
    except OSError as error:
        raise OutputError(f"cannot write {place}", why=error.strerror or str(error)) from error
