"""What the Transfers tab shows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kache.config.load import Config
from kache.reports.render.text import human_bytes, human_duration, plural
from kache.reports.wires import Moved
from kache.tui.source import Snapshot
from kache.tui.tables import MAX_ROWS, Line, matches

COLUMNS = ("ago", "way", "outcome", "crate", "size", "waited", "compiling took")
QUEUE_COLUMNS = ("waits to be sent", "size", "tries", "since", "next try in")
_WAYS = {"get": "from", "put": "to"}
_BAD = ("failed", "refused")


def summary(snapshot: Snapshot, config: Config) -> str:
    """Remotes and whether they answer, speed, queue, budget."""
    wire, remotes = snapshot.wire, (snapshot.daemon or {}).get("transfers", ())
    if config.remote is None and not remotes and not wire.moved:
        return (
            "no remote is configured: nothing is fetched or sent\n"
            "kache config set remote s3://bucket/prefix shares this cache with other machines (docs/how-to/remote.md)"
        )
    lines = [_remote(each) for each in remotes]
    if not lines:
        why = "no daemon runs" if snapshot.daemon is None else "no build has asked for it since the daemon started"
        lines = [f"{config.remote}: {why}"]
    failed = sum(each.outcome in _BAD for each in wire.moved)
    lines.append(
        f"now       {human_bytes(int(wire.received_now))}/s in, {human_bytes(int(wire.sent_now))}/s out;"
        f" last hour {human_bytes(sum(wire.received))} in, {human_bytes(sum(wire.sent))} out"
    )
    lines.append(
        f"queue     {plural(wire.queued_count, 'entry', 'entries')} ({human_bytes(wire.queued_bytes)}) to be sent,"
        f" at most {config.remote_queue}"
    )
    rate = f"{human_bytes(config.remote_upload_rate)}/s" if config.remote_upload_rate else "no bound"
    lines.append(
        f"budget    uploads {rate}, {plural(config.remote_concurrency, 'request')} at once,"
        f" a build waits {human_duration(config.remote_wait_s)} or as long as compiling takes"
    )
    errors = f"{failed} of the last {plural(len(wire.moved), 'transfer')}" if failed else "none"
    return "\n".join([*lines, f"errors    {errors}"])


def _remote(each: Mapping[str, Any]) -> str:
    reads = f"reads stopped: {each['reads_stopped']}" if each["reads_stopped"] else "answers"
    if not each["writes"]:
        writes = "nothing is sent"
    else:
        writes = f"uploads stopped: {each['writes_stopped']}" if each["writes_stopped"] else "takes uploads"
    return f"remote    {each['place']}: {reads}; {writes}"


def moved(snapshot: Snapshot, wanted: str, sort: str) -> list[Line]:
    """What went over the wire."""
    found = [each for each in snapshot.wire.moved if matches(wanted, each.crate_name, each.outcome)]
    if sort == "size":
        found.sort(key=lambda each: -each.bytes)
    elif sort == "waited":
        found.sort(key=lambda each: -each.waited_ms)
    return [_line(number, each, snapshot.now_ns) for number, each in enumerate(found[:MAX_ROWS])]


def _line(number: int, each: Moved, now_ns: int) -> Line:
    cells = (
        human_duration(max(now_ns - each.at_ns, 0) / 1e9),
        _WAYS.get(each.direction, each.direction),
        each.outcome,
        each.crate_name or "-",
        human_bytes(each.bytes),
        human_duration(each.waited_ms / 1000) if each.waited_ms else "",
        human_duration(each.compile_ms / 1000) if each.compile_ms else "",
    )
    return Line(f"{each.at_ns}-{number}", cells)


def queue(snapshot: Snapshot, wanted: str) -> list[Line]:
    """What waits to be sent, the first to go first."""
    now_ns = snapshot.now_ns
    return [
        Line(
            str(number),
            (
                each.crate_name or "-",
                human_bytes(each.bytes),
                str(each.tries),
                human_duration(max(now_ns - each.queued_ns, 0) / 1e9),
                human_duration((each.due_ns - now_ns) / 1e9) if each.due_ns > now_ns else "at once",
            ),
        )
        for number, each in enumerate(snapshot.wire.queued)
        if matches(wanted, each.crate_name)
    ]
