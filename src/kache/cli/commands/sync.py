"""`kache sync`."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.remotes import open_remote, progress_of, say_problems
from kache.cli.session import Session
from kache.errors import KeysError, UsageError
from kache.reports.render.text import human_bytes, plural
from kache.reports.transfers import crates_of

if TYPE_CHECKING:
    from kache.engine.transfer.bulk import Report
    from kache.engine.transfer.remotes import Remote
    from kache.store.local import LocalStore

DESCRIPTION = (
    "Bring what the remote has and this store has not, or send what the store has and the remote has not. What is\n"
    "there already is left alone, so a sync that was broken off goes on where it was. The exit code is 1 if anything\n"
    "failed."
)
EXAMPLES: Examples = (
    ("kache sync --pull", "bring everything"),
    ("kache sync --push --dry-run", "say what would be sent"),
    ("kache sync --all --workspace", "both ways, only crates that builds in this directory used"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--pull", action="store_true", help="bring entries")
    which.add_argument("--push", action="store_true", help="send entries")
    which.add_argument("--all", action="store_true", help="send, then bring")
    parser.add_argument("--workspace", action="store_true", help="only crates that builds in this directory used")
    parser.add_argument("--dry-run", action="store_true", help="change nothing, only say what would be done")
    parser.add_argument("--allow-partial", action="store_true", help="exit with 0 although some entries failed")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Bring, send, or both."""
    session.warn_of_config_problems()
    remote = open_remote(session)
    if (args.push or args.all) and remote.secret is None and remote.own is None:
        from kache.engine.transfer.policy import why_not_write

        raise KeysError("nothing may be sent from here", why=why_not_write(session.config, session.env))
    crates = _crates(session) if args.workspace else None
    from kache.store.local import LocalStore

    session.flush_daemon()
    store = LocalStore.open(session.config.cache_dir)
    try:
        reports = _transfer(args, session, remote, store, crates)
    finally:
        store.close()
    failed = sum(report.failed + report.refused for report in reports.values())
    data = {way: report.to_json() for way, report in reports.items()}
    text = "\n".join(_line(way, report, dry_run=args.dry_run) for way, report in reports.items())
    return Result({**data, "dry_run": args.dry_run}, text, exit_code=1 if failed and not args.allow_partial else 0)


def _transfer(
    args: argparse.Namespace, session: Session, remote: Remote, store: LocalStore, crates: set[str] | None
) -> dict[str, Report]:
    from kache.engine.transfer import bulk

    how: dict[str, Any] = {"crates": crates, "dry_run": args.dry_run}

    reports: dict[str, Report] = {}
    if args.push or args.all:
        with progress_of(session, "entries sent") as told:
            reports["push"] = asyncio.run(bulk.push(remote.own or remote, store, told, **how))
    if args.pull or args.all:
        with progress_of(session, "entries brought") as told:
            reports["pull"] = asyncio.run(bulk.pull(remote, store, told, **how))
    for report in reports.values():
        say_problems(report)
    return reports


def _crates(session: Session) -> set[str]:
    if session.cwd is None:
        raise UsageError("the current directory is gone", fix="leave --workspace out")
    with session.index() as connection:
        found = crates_of(connection, str(session.cwd))
    lock = session.cwd / "Cargo.lock"
    if lock.exists():
        import tomllib

        try:
            packages = tomllib.loads(lock.read_text()).get("package", [])
        except (OSError, ValueError) as error:
            raise UsageError(f"cannot read {lock}: {error}") from error
        found |= {str(package["name"]).replace("-", "_") for package in packages}
    return found


def _line(way: str, report: Report, *, dry_run: bool) -> str:
    verb = {"push": "sent", "pull": "brought"}[way]
    line = f"{'would be ' if dry_run else ''}{verb}: {plural(report.done, 'entry', 'entries')}"
    line += f", {human_bytes(report.bytes)}; {report.skipped} left alone"
    troubles = [(report.failed, "failed"), (report.refused, "not to be trusted"), (report.differing, "differ there")]
    return line + "".join(f", {count} {word}" for count, word in troubles if count)
