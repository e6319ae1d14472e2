"""`kache doctor`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from kache.cli.colour import DIM, GREEN, RED, YELLOW, paint
from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.cli.store import changed_store
from kache.errors import KacheError, StoreCorruptError, UsageError
from kache.reports.render.text import human_bytes, plural
from kache.setup.doctor import Found, examine
from kache.setup.finding import FAIL, OK, SKIP, WARN, Finding, Surroundings

DESCRIPTION = (
    "Check the installation, the configuration, who calls kache, the cache dir, the daemon and the toolchain, and\n"
    "say how to repair what is wrong. Nothing is changed without --fix or --repair.\n\n"
    "The exit code is 1 if a check fails or the store is damaged; what only could be better is a warning and gives 0."
)
EXAMPLES: Examples = (
    ("kache doctor", "all checks, in a second"),
    ("kache doctor --fix", "and repair what can be repaired without a question"),
    (
        "kache doctor --probe",
        "also compile a tiny crate: is it a hit elsewhere, and there before cargo asks?",
    ),
    ("kache doctor --verify", "also look at every file of the store"),
    ("kache doctor --checksums --repair", "read them all, and drop what is broken"),
    ("kache doctor --json", "for a script"),
)

_COLOURS = {OK: GREEN, WARN: YELLOW, FAIL: RED, SKIP: DIM}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--fix", action="store_true", help="repair what can be repaired without asking")
    parser.add_argument(
        "--probe", action="store_true", help="compile a tiny crate in three checkouts with a scratch cache"
    )
    parser.add_argument("--verify", action="store_true", help="look at every file of the store")
    parser.add_argument("--checksums", action="store_true", help="verify, and read and hash every file")
    parser.add_argument("--repair", action="store_true", help="with --verify or --checksums: drop what is broken")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Check."""
    verifies = args.verify or args.checksums
    if args.repair and not verifies:
        raise UsageError("--repair needs --verify or --checksums", fix="kache doctor --verify --repair")
    around = Surroundings(env=session.env, cwd=session.cwd, config=session.config)
    audit: dict[str, Any] = {}
    audited: list[Found] = []
    if verifies:  # before the checks, which then see what a repair made
        finding, audit = _audit(args, session)
        audited = [("audit", finding)]
    found = _examine(around, session)
    repaired: list[str] = []
    if args.fix and (repaired := _repair(found)):
        found = _examine(around, session)
    found += audited
    if args.probe:
        from kache.setup.probe import probe

        with Progress("compiling a tiny crate in three checkouts, in a scratch cache", session):
            found.append(("probe", probe(around)))
    return _result(found, repaired, audit, fixed=args.fix)


def _examine(around: Surroundings, session: Session) -> list[Found]:
    with Progress("checks", session) as progress:
        return examine(around, progress.at)


def _result(found: list[Found], repaired: list[str], audit: dict[str, Any], *, fixed: bool) -> Result:
    failed = sum(finding.status == FAIL for _, finding in found)
    warned = sum(finding.status == WARN for _, finding in found)
    fixable = sum(finding.repair is not None for _, finding in found)
    data = {
        "ok": failed == 0,
        "failed": failed,
        "warned": warned,
        "repaired": repaired,
        "audit": audit or None,
        "checks": [{"check": name, **finding.to_json()} for name, finding in found],
    }
    lines = [_lines(name, finding) for name, finding in found]
    lines += [f"fixed: {text}" for text in repaired]
    lines.append(f"{failed} failed, {warned} to look at" if failed or warned else "all is well")
    if fixable and not fixed:
        lines.append(f"kache doctor --fix repairs {fixable} of them")
    return Result(data, "\n".join(lines), exit_code=1 if failed else 0, pages=True)


def _repair(found: list[Found]) -> list[str]:
    done = []
    for name, finding in found:
        if finding.repair is None:
            continue
        try:
            done.append(finding.repair())
        except (KacheError, OSError) as error:
            say(f"warning: {name} could not be repaired: {error.line if isinstance(error, KacheError) else error}")
    return done


def _audit(args: argparse.Namespace, session: Session) -> tuple[Finding, dict[str, Any]]:
    try:
        with changed_store(session, heal=args.repair) as store, Progress("blobs", session) as progress:
            if store is None:
                return Finding(OK, "no store yet"), {}
            report = store.audit(checksums=args.checksums, repair=args.repair, progress=progress.at)
    except StoreCorruptError as error:
        fix = "kache doctor --verify --repair starts an empty index and keeps the damaged one aside"
        return Finding(FAIL, error.what, error.why, fix), {}
    data = {
        "blobs": report.blobs,
        "hashed_bytes": report.hashed_bytes,
        "missing": [digest.hex() for digest in report.missing],
        "altered": [digest.hex() for digest in report.altered],
        "hollow_entries": report.hollow_entries,
        "leftover_files": report.leftover_files,
        "dropped_entries": report.dropped_entries,
        "sound": report.is_sound,
        "repaired": bool(args.repair),
    }
    read = f", {human_bytes(report.hashed_bytes)} read" if args.checksums else ""
    seen = f"{plural(report.blobs, 'blob')} looked at{read}"
    if report.is_sound:
        return Finding(OK, f"{seen}: all as they should be"), data
    what = (
        f"{seen}: {len(report.missing)} missing, {len(report.altered)} altered,"
        f" {plural(report.hollow_entries, 'entry', 'entries')} without one"
    )
    if args.repair:
        dropped = plural(report.dropped_entries, "entry", "entries")
        return Finding(WARN, what, f"{dropped} dropped: the next build compiles them again"), data
    why = "none of them is ever served: each counts as a miss"
    return Finding(FAIL, what, why, f"kache doctor {'--checksums' if args.checksums else '--verify'} --repair"), data


def _lines(name: str, finding: Finding) -> str:
    status = paint(f"{finding.status:<4}", _COLOURS[finding.status], sys.stdout)
    lines = [f"{status}  {name.replace('_', ' ')}: {finding.what}"]
    lines += [f"      {word}: {text}" for word, text in (("why", finding.why), ("fix", finding.fix)) if text]
    return "\n".join(lines)
