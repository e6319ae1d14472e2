"""`kache clean`."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

from kache.cargo import target_dirs
from kache.cargo.target_dirs import TargetDir
from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples, option
from kache.cli.progress import Progress
from kache.cli.screen import can_draw
from kache.cli.session import Session
from kache.config.values import parse_duration
from kache.errors import UsageError
from kache.reports.render.text import human_bytes, human_duration, plural, table
from kache.reports.restorable import names_and_sizes

DESCRIPTION = (
    "Find target directories, show what each takes, how long nothing was built there and how much of it the store\n"
    "could put back, and delete those chosen. One in use is never touched. Files that the store or another target\n"
    "dir shares count as shared: deleting them here frees nothing."
)
EXAMPLES: Examples = (
    ("kache clean", "below the current directory; tick which on the screen"),
    ("kache clean -n ~/src", "only look"),
    ("kache clean ~/src --stale 30d -y", "those where nothing was built for a month"),
    ("kache clean /var/targets --orphans -y", "those whose checkouts or worktrees are gone"),
)

_HEADINGS = ("own", "shared", "restorable", "unchanged", "target directory")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("roots", metavar="DIR", nargs="*", type=Path, help="where to look (default: here)")
    parser.add_argument("--dry-run", "-n", action="store_true", help="only show them")
    parser.add_argument("--yes", "-y", action="store_true", help="delete all that are shown, without a question")
    parser.add_argument(
        "--stale", metavar="AGE", type=option(parse_duration), help="only those unchanged for AGE (30d)"
    )
    parser.add_argument("--orphans", action="store_true", help="only those whose sources are gone")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Look, and delete."""
    session.warn_of_config_problems()
    if args.dry_run and args.yes:
        raise UsageError("--dry-run and --yes contradict each other", fix="leave one of them out")
    found = _find(args, session)
    now_ns = time.time_ns()
    if not found:
        return Result({"target_dirs": [], "deleted": [], "freed_bytes": 0}, "no target directory found")
    shown = _table(found, now_ns)
    if args.dry_run:
        return Result(_data(found, [], []), shown, pages=True)
    chosen = found if args.yes else _choose(found, shown, now_ns, session)
    if not chosen:
        return Result(_data(found, [], []), "nothing deleted")
    with Progress("target directories deleted", session) as progress:
        deleted, kept = _delete(chosen, progress)
    freed = sum(each.own_bytes for each in deleted)
    lines = [f"{path} is left: {why}" for path, why in kept]
    lines.append(
        f"deleted {plural(len(deleted), 'target directory', 'target directories')}, {human_bytes(freed)} freed"
    )
    return Result(_data(found, deleted, kept), "\n".join(lines), exit_code=1 if kept else 0)


def _find(args: argparse.Namespace, session: Session) -> list[TargetDir]:
    start = session.cwd or Path("/")
    roots = [Path(start, root).resolve() for root in args.roots or [start]]
    for root in roots:
        if not root.is_dir():
            raise UsageError(f"{root} is not a directory")
    with session.index() as connection:
        restorable = names_and_sizes(connection)
    with Progress("looking for target directories", session) as progress:
        paths = sorted({path for root in roots for path in target_dirs.find(root)})
        progress.now("target directories measured")
        found = []
        for number, path in enumerate(paths):
            progress.at(number, len(paths))
            found.append(target_dirs.measure(path, restorable))
    if args.orphans:
        found = [each for each in found if each.is_orphan]
    if args.stale is not None:
        limit_ns = time.time_ns() - int(args.stale * 1e9)
        found = [each for each in found if each.changed_ns <= limit_ns]
    return sorted(found, key=lambda each: -each.own_bytes)


def _choose(found: list[TargetDir], shown: str, now_ns: int, session: Session) -> list[TargetDir]:
    """On the screen where there is one that can be drawn on, else by numbers."""
    if not can_draw(session):
        return _ask(found, shown, session)
    from kache.tui.selector import Selector

    question = "which target directories are to be deleted? One in use is left alone"
    sizes = [each.own_bytes for each in found]
    selector = Selector(question, _HEADINGS, [_cells(each, now_ns) for each in found], sizes, "delete them")
    chosen = selector.run() or []
    if selector.was_interrupted:
        raise KeyboardInterrupt
    return [found[at] for at in chosen]


def _ask(found: list[TargetDir], shown: str, session: Session) -> list[TargetDir]:
    if session.as_json or not sys.stdin.isatty():
        raise UsageError("this deletes, and nobody is there to choose", fix="add --yes, or -n to only look")
    while True:
        say(f"{shown}\n\ndelete which? (numbers as in 1 3-5, all; Enter for none)")
        chosen = chosen_of(sys.stdin.readline(), len(found))
        if chosen is not None:
            return [found[at] for at in chosen]
        say(f"numbers from 1 to {len(found)}, please")


def chosen_of(answer: str, count: int) -> list[int] | None:
    """Positions from 0 of an answer such as `1 3-5`; None for one that makes no sense."""
    if answer.strip().lower() in ("a", "all"):
        return list(range(count))
    chosen: list[int] = []
    for word in answer.replace(",", " ").split():
        first, dash, last = word.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            return None
        numbers = range(int(first), int(last if dash else first) + 1)
        if not numbers or numbers[0] < 1 or numbers[-1] > count:
            return None
        chosen += [number - 1 for number in numbers if number - 1 not in chosen]
    return chosen


def _delete(chosen: list[TargetDir], progress: Progress) -> tuple[list[TargetDir], list[tuple[Path, str]]]:
    deleted, kept = [], []
    for number, each in enumerate(chosen):
        progress.at(number, len(chosen))
        with target_dirs.unused(each.path) as free:
            if not free:
                kept.append((each.path, "cargo builds there"))
                continue
            try:
                target_dirs.remove(each.path)
            except OSError as error:
                kept.append((each.path, error.strerror or str(error)))
            else:
                deleted.append(each)
    return deleted, kept


def _table(found: list[TargetDir], now_ns: int) -> str:
    rows = [[str(number), *_cells(each, now_ns)] for number, each in enumerate(found, 1)]
    total = human_bytes(sum(each.own_bytes for each in found))
    return f"{table(['', *_HEADINGS], rows, right=frozenset({0, 1, 2, 3, 4}))}\n\n{total} would be freed in all"


def _cells(each: TargetDir, now_ns: int) -> list[str]:
    return [
        human_bytes(each.own_bytes),
        human_bytes(each.shared_bytes),
        human_bytes(each.restorable_bytes),
        human_duration(max(now_ns - each.changed_ns, 0) / 1e9) if each.changed_ns else "-",
        f"{each.path}{' (its sources are gone)' if each.is_orphan else ''}",
    ]


def _data(found: list[TargetDir], deleted: list[TargetDir], kept: list[tuple[Path, str]]) -> dict[str, Any]:
    return {
        "target_dirs": [
            {
                "path": str(each.path),
                "own_bytes": each.own_bytes,
                "shared_bytes": each.shared_bytes,
                "restorable_bytes": each.restorable_bytes,
                "changed_ns": each.changed_ns,
                "orphan": each.is_orphan,
                "profiles": list(each.profiles),
                "rustc": each.rustc,
            }
            for each in found
        ],
        "deleted": [str(each.path) for each in deleted],
        "left": [{"path": str(path), "why": why} for path, why in kept],
        "freed_bytes": sum(each.own_bytes for each in deleted),
    }
