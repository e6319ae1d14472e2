"""`kache prefetch`."""

from __future__ import annotations

import argparse
import os
from typing import Any

from kache.cargo import intent
from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.seeding import announcement_of
from kache.cli.session import Session
from kache.cli.workspaces import here
from kache.errors import ConfigError, DaemonUnreachableError, KacheError, UsageError
from kache.ipc.client import control
from kache.ipc.lifecycle import start_daemon
from kache.reports.render.text import human_bytes, human_duration, plural, table

DESCRIPTION = (
    "Fetch from the remote what the next build of this workspace will need, by what this machine, the build\n"
    "manifests of the remote and the planner service know. A build does the same by itself when it begins; this is\n"
    "for a step of CI before it, or a git hook. Words behind -- are those of the cargo command that is coming;\n"
    "without them every kind of build that was seen is planned for."
)
EXAMPLES: Examples = (
    ("kache prefetch", "everything that recent builds here used and that can still be used"),
    ("kache prefetch -- test --release", "what cargo test --release will need"),
    ("kache prefetch --background --quiet", "in a git hook"),
    ("kache prefetch --dry-run", "say what would be fetched, and why"),
)
_LIMIT_S = 1800.0
_SHOWN = 40


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("--quiet", action="store_true", help="print nothing, and end well whatever happens")
    parser.add_argument("--background", action="store_true", help="do not wait until it is done")
    parser.add_argument("--dry-run", action="store_true", help="fetch nothing, only say what would be fetched")
    parser.add_argument("--manifest-key", metavar="NAME", default="", help="prefer builds saved under this name")
    parser.add_argument("--namespace", metavar="NAME", default="", help="plan with the builds saved in it")
    parser.add_argument("cargo", metavar="CARGO", nargs="*", help="words of the cargo command that is coming")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Ask the daemon for it."""
    try:
        return _run(args, session)
    except KacheError as error:
        if not args.quiet:
            raise
        return Result({"ok": False, "why": error.line})


def _run(args: argparse.Namespace, session: Session) -> Result:
    session.warn_of_config_problems()
    config = session.config
    if config.remote is None:
        why = "local_only is set" if config.local_only else "neither `remote` nor KACHE_REMOTE is set"
        raise ConfigError("there is no remote to fetch from", why=why, fix="set KACHE_REMOTE=s3://bucket/prefix")
    if not config.daemon or config.disabled:
        raise ConfigError(
            "prefetches are the daemon's",
            why="KACHE_DAEMON=0 or KACHE_DISABLED is set",
            fix="unset it, or build without",
        )
    argv = ["cargo", *(args.cargo or ["build"])]
    if intent.read([os.fsencode(word) for word in argv]) is None:
        raise UsageError(f"{' '.join(argv)!r} builds nothing that kache understands", fix="see kache prefetch --help")
    here(session)
    found = announcement_of(os.getpid(), argv, session.env, session)
    if found is None:
        raise UsageError("there is no rustc", why="cargo's configuration and PATH name none", fix="install a toolchain")
    message: dict[str, Any] = found.to_message() | {
        "op": "prefetch",
        "name": args.manifest_key,
        "namespace": args.namespace,
        "any": not args.cargo,
        "dry_run": args.dry_run,
        "background": args.background,
    }
    start_daemon(session.env)
    answer = control(config.socket_path, message, timeout_s=_LIMIT_S)
    if not answer.get("ok"):
        why = str(answer.get("why") or answer.get("error") or "it does not say why")
        raise DaemonUnreachableError("nothing was fetched", why=why, fix="see kache remote status and kache doctor")
    return Result(answer, "" if args.quiet else _text(answer))


def _text(answer: dict[str, Any]) -> str:
    if "units" in answer:
        return _plan(answer)
    if answer.get("background"):
        return "fetching in the background"
    line = f"fetched {plural(answer['brought'], 'entry', 'entries')} of {answer['planned']} planned"
    line += f", {human_bytes(answer['bytes'])}"
    troubles = ((answer["absent"], "not there"), (answer["refused"], "not to be trusted"), (answer["dropped"], "left"))
    return line + "".join(f", {count} {word}" for count, word in troubles if count)


def _plan(answer: dict[str, Any]) -> str:
    units = answer["units"]
    saved, size = human_duration(answer["saved_ms"] / 1000), human_bytes(answer["size_bytes"])
    lines = [f"{plural(len(units), 'unit')}, {size} unpacked, {saved} of compiling"]
    rows = [
        [
            unit["crate_name"],
            unit["unit_kind"],
            human_bytes(unit["size_bytes"]),
            human_duration(unit["compile_ms"] / 1000),
            f"{unit['confidence']:.0%}",
            unit["reason"],
        ]
        for unit in units[:_SHOWN]
    ]
    if rows:
        headings = ["crate", "kind", "size", "compile", "sure", "why"]
        lines.append(table(headings, rows, right=frozenset({2, 3, 4})))
    if len(units) > _SHOWN:
        lines.append(f"and {len(units) - _SHOWN} more (--json has all)")
    if answer["left_out"]:
        lines.append("left out: " + ", ".join(f"{cause} {count}" for cause, count in answer["left_out"].items()))
    return "\n".join(lines)
