"""`kache save-manifest`."""

from __future__ import annotations

import argparse
import asyncio
from typing import TYPE_CHECKING

from kache.cli.output import Result
from kache.cli.parser import Examples, option
from kache.cli.remotes import open_remote
from kache.cli.session import Session
from kache.config.values import parse_count
from kache.errors import KeysError, UsageError
from kache.reports.render.text import plural

if TYPE_CHECKING:
    from kache.core.usage import BuildRecord
    from kache.engine.transfer.remotes import Remote

DESCRIPTION = (
    "Send what the last builds of this workspace used to the remote: other machines plan with it what to fetch\n"
    "before they build. The daemon sends whole builds by itself; this does it now, at the end of a CI job, and can\n"
    "give them a name."
)
EXAMPLES: Examples = (
    ("kache save-manifest", "at the end of a CI job, before its machine goes"),
    ("kache save-manifest --manifest-key main-linux", "under a name that kache prefetch --manifest-key prefers"),
    ("kache save-manifest --namespace team-a", "apart from those of other teams"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--manifest-key", metavar="NAME", default="", help="what to call these builds")
    parser.add_argument("--namespace", metavar="NAME", default="", help="keep them apart from others")
    parser.add_argument(
        "--builds", metavar="COUNT", type=option(parse_count), default=8, help="how many of the last builds (8)"
    )


def run(args: argparse.Namespace, session: Session) -> Result:
    """Send them."""
    session.warn_of_config_problems()
    remote = open_remote(session)
    remote = remote.own or remote
    if remote.secret is None:
        from kache.engine.transfer.policy import why_not_write

        raise KeysError("nothing may be sent from here", why=why_not_write(session.config, session.env))
    records = _records(session, args.builds, args.manifest_key)
    sent = asyncio.run(_send(remote, records, args.namespace))
    units = len({unit.key for record in records for unit in record.units})
    data = {"builds": len(records), "new": sent, "units": units, "manifest_key": args.manifest_key}
    name = f" as {args.manifest_key}" if args.manifest_key else ""
    return Result(data, f"sent what {plural(len(records), 'build')} used{name}: {plural(units, 'unit')}, {sent} new")


async def _send(remote: Remote, records: list[BuildRecord], namespace: str) -> int:
    from kache.engine.transfer import manifests
    from kache.remote.exchange import Published

    assert remote.secret is not None
    return sum([await manifests.send(remote, remote.secret, each, namespace) is Published.STORED for each in records])


def _records(session: Session, count: int, name: str) -> list[BuildRecord]:
    """The last builds of the workspace here, renamed.

    Raises:
        UsageError: this is no workspace, or none of its builds was recorded.
    """
    from msgspec.structs import replace

    from kache.cli.store import changed_store
    from kache.cli.workspaces import here
    from kache.core.digest import hash_parts

    found = here(session)
    with changed_store(session) as store:
        records = store.records.of_workspace(found.identity, max(count, 1)) if store is not None else []
    if not records:
        raise UsageError(
            "no build of this workspace was recorded",
            why="the daemon makes a record when a cargo that used kache has ended",
            fix="build it with kache first, with the daemon running",
        )
    if not name:
        return records
    return [replace(record, id=hash_parts([record.id, name.encode()]), name=name[:100]) for record in records]
