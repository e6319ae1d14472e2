"""`kache remote status|verify|gc`."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING, Any

from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples, option, refuse_flags_of_others
from kache.cli.progress import Progress
from kache.cli.remotes import open_remote, progress_of, say_problems
from kache.cli.session import Session
from kache.config.values import parse_duration, parse_size
from kache.errors import KacheError, UsageError
from kache.reports import transfers
from kache.reports.render.text import human_bytes, plural

if TYPE_CHECKING:
    from kache.engine.transfer.remotes import Remote

DESCRIPTION = (
    "Look at the cache shared with other machines.\n\n"
    "  status  say where it is, whether it answers, what may be done, and what waits to be sent\n"
    "  verify  check every entry's signature, and that its pack is there\n"
    "  gc      remove what was long not used, and packs that nothing names"
)
EXAMPLES: Examples = (
    ("kache remote status", "is it in use, and by which keys"),
    ("kache remote verify --packs", "fetch everything and check every byte"),
    ("kache remote gc --max-age 30d --dry-run", "say what a month's limit would remove"),
    ("kache remote gc --max-size 50GiB", "remove what was used last the longest ago, beyond 50 GiB"),
    ("kache remote gc --unreachable --dry-run", "say what no recorded build used"),
)
ACTIONS = ("status", "verify", "gc")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("action", choices=ACTIONS, metavar="ACTION", help=", ".join(ACTIONS))
    parser.add_argument("--offline", action="store_true", help="status: do not ask the remote")
    parser.add_argument("--packs", action="store_true", help="verify: fetch the packs too")
    parser.add_argument(
        "--max-age", metavar="AGE", type=option(parse_duration), help="gc: remove what was not used for so long (30d)"
    )
    parser.add_argument(
        "--max-size", metavar="SIZE", type=option(parse_size), help="gc: remove the least used beyond SIZE"
    )
    parser.add_argument("--unreachable", action="store_true", help="gc: remove entries that no build manifest names")
    parser.add_argument("--dry-run", action="store_true", help="gc: change nothing, only say what would go")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Do the action."""
    session.warn_of_config_problems()
    given = {
        "--offline": (args.offline, ("status",)),
        "--packs": (args.packs, ("verify",)),
        "--max-age": (args.max_age is not None, ("gc",)),
        "--max-size": (args.max_size is not None, ("gc",)),
        "--unreachable": (args.unreachable, ("gc",)),
        "--dry-run": (args.dry_run, ("gc",)),
    }
    refuse_flags_of_others("kache remote", args.action, given)
    if args.action == "status":
        return _status(session, offline=args.offline)
    remote = open_remote(session)
    if args.action == "verify":
        return _verify(remote, session, with_packs=args.packs)
    if args.max_age is None and args.max_size is None and not args.unreachable:
        raise UsageError("gc of what?", fix="add --max-age, --max-size or --unreachable")
    return _gc(remote, args, session)


def _status(session: Session, *, offline: bool) -> Result:
    from kache.engine.transfer.policy import why_not_write
    from kache.remote.identity import whose

    with session.index() as connection:
        counts = transfers.collect(connection)
    data: dict[str, Any] = {"remote": None, **counts.to_json()}
    if session.config.remote is None:
        return Result(data, "no remote is configured", command="remote status")
    remote = open_remote(session, must_trust=False)
    why_not = why_not_write(session.config, session.env)
    data |= {
        "remote": str(remote.place),
        "trusted_keys": [key.id.hex() for key in remote.trusted.keys.values()],
        "signs_as": _signer(remote),
        "own_namespace": str(remote.own.place) if remote.own else None,
        "why_not_write": why_not,
        "identity": None,
        "reachable": None,
        "problem": "",
    }
    lines = [
        f"remote    {remote.place}",
        f"trusts    {', '.join(data['trusted_keys']) or 'no key: nothing is taken'}",
        f"sends     {'as ' + data['signs_as'] if data['signs_as'] else 'nothing: ' + why_not}"
        + (f", to this pull request's own {remote.own.place}" if remote.own else ""),
        f"waiting   {plural(counts.waiting, 'entry', 'entries')} for an upload",
    ]
    if not offline:
        with Progress("asking the remote", session):
            data["problem"] = asyncio.run(_ask(remote))
        data["reachable"] = not data["problem"]
        lines.insert(1, f"answers   {'yes' if data['reachable'] else 'no: ' + data['problem']}")
        if data["reachable"]:
            data["identity"] = whose(remote.place, session.env)
            lines.insert(2, f"as        {data['identity']}")
    return Result(data, "\n".join(lines), exit_code=1 if data["problem"] else 0, command="remote status")


def _signer(remote: Remote) -> str | None:
    secret = remote.own.secret if remote.own else remote.secret
    return secret.public().id.hex() if secret else None


async def _ask(remote: Remote) -> str:
    try:
        await remote.bulk.get("v1/probe", 1)
    except KacheError as error:
        return error.line
    return ""


def _verify(remote: Remote, session: Session, *, with_packs: bool) -> Result:
    from kache.engine.transfer.bulk import verify

    with progress_of(session, "entries verified") as told:
        report = asyncio.run(verify(remote, told, with_packs=with_packs))
    say_problems(report)
    bad = report.refused + report.failed
    text = f"{plural(report.done, 'entry', 'entries')} right, {bad} not"
    return Result(report.to_json(), text, exit_code=1 if bad else 0, command="remote verify")


def _gc(remote: Remote, args: argparse.Namespace, session: Session) -> Result:
    from kache.engine.transfer.collect import Limits, collect

    limits = Limits(args.max_age, args.max_size, args.unreachable, dry_run=args.dry_run)
    with Progress("looking through the remote", session):
        report = asyncio.run(collect(remote, limits))
    verb = "would remove" if args.dry_run else "removed"
    text = (
        f"{verb} {plural(report.entries, 'entry', 'entries')}, {plural(report.packs, 'pack')},"
        f" {plural(report.memos, 'memo')}, {human_bytes(report.freed_bytes)};"
        f" {plural(report.kept_entries, 'entry', 'entries')}, {human_bytes(report.kept_bytes)} stay"
    )
    if report.pull_requests or report.builds:
        text += (
            f"\nof them {plural(report.builds, 'build manifest')},"
            f" {plural(report.pull_requests, 'namespace')} of pull requests"
        )
    if report.unread_builds:
        say(f"warning: {plural(report.unread_builds, 'build manifest')} cannot be trusted or read, and keep nothing")
    return Result({**report.to_json(), "dry_run": args.dry_run}, text, command="remote gc")
