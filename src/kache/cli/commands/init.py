"""`kache init`."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TextIO

from kache.cli.ask import confirmed
from kache.cli.colour import DIM, GREEN, RED, YELLOW, paint
from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.progress import Progress
from kache.cli.session import Session
from kache.errors import KacheError, UsageError
from kache.setup.finding import FAIL, Finding, Surroundings
from kache.setup.init import cargo_shim, git_hooks
from kache.setup.init import plan as planning
from kache.setup.init.cargo_wrapper import launcher_to_name
from kache.setup.init.plan import Plan
from kache.setup.init.record import Record
from kache.setup.init.step import State, Wishes

DESCRIPTION = (
    "Set kache up for this user: name it in cargo's configuration, have the daemon started at login, install\n"
    "completions for the login shell. The plan is shown first; the end is a probe that compiles a tiny crate twice.\n"
    "A second run changes nothing, or repairs what is broken. --undo puts every file back as it was.\n\n"
    "  --cargo-shim  a `cargo` for your PATH that runs the real one by `kache cargo`\n"
    "  --git-hooks   in the repository here: after checkout, merge and rebase, fetch what the next build will want"
)
EXAMPLES: Examples = (
    ("kache init", "show the plan, ask, apply it"),
    ("kache init --yes", "without a question, for scripts and CI"),
    ("kache init --check", "change nothing; exit code 1 if something would change"),
    ("kache init --git-hooks", "and hooks in the repository here, beside those it has"),
    ("kache init --undo", "take everything back"),
)
_WIDTH = 15
_COLOURS = {State.DONE: GREEN, State.CHANGE: YELLOW, State.SKIP: DIM, State.BLOCKED: RED}


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="only show the plan; exit code 1 if it changes something")
    mode.add_argument("--undo", action="store_true", help="put everything back as it was before kache init")
    parser.add_argument("--yes", "-y", action="store_true", help="do not ask")
    parser.add_argument(
        "--replace-wrapper",
        action="store_true",
        help="with --yes: replace another wrapper in cargo's configuration too",
    )
    parser.add_argument(
        "--no-service", action="store_true", help="no login service: the first compile starts the daemon"
    )
    parser.add_argument("--no-completions", action="store_true", help="no completions for the shell")
    parser.add_argument("--cargo-shim", action="store_true", help="also a cargo for PATH that runs kache cargo")
    parser.add_argument("--git-hooks", action="store_true", help="also hooks in the git repository here")
    parser.add_argument("--no-probe", action="store_true", help="do not compile a tiny crate at the end")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Set up, or take back."""
    session.warn_of_config_problems()
    wishes = _wishes(args, session)
    if args.undo:
        others = (args.no_service, args.no_completions, args.no_probe, args.replace_wrapper)
        if any(others) or args.cargo_shim or args.git_hooks:
            raise UsageError("--undo takes everything back; it goes with --yes alone")
        return _undo(args, wishes, session)
    if args.check and (args.yes or args.replace_wrapper):
        raise UsageError("--check changes nothing, so it needs no --yes", fix="leave one of them out")
    if args.replace_wrapper and not args.yes:
        raise UsageError("--replace-wrapper goes with --yes", fix="add --yes, or answer the question")
    plan = planning.make(wishes)
    if args.check:
        blocked = any(step.state is State.BLOCKED for step in plan.steps)
        text = _plan_text(plan, sys.stdout)
        return Result(_data(plan, applied=False), text, exit_code=1 if plan.changes or blocked else 0)
    if plan.changes or any(step.state is State.BLOCKED for step in plan.steps):
        say(_plan_text(plan, sys.stderr))
    plan.refuse_if_blocked()
    if plan.changes:
        if not _agreed(plan, args, session):
            return Result(_data(plan, applied=False), "nothing changed", exit_code=1)
        planning.apply(plan.changes, wishes)
    return _finish(plan, wishes, args, session)


def _wishes(args: argparse.Namespace, session: Session) -> Wishes:
    from kache.cli import completions

    earlier = {note.path for note in Record.load(session.env).notes}  # what an earlier run made is kept in order
    bare = Wishes(session.env, session.cwd, session.config, None)
    hooks = git_hooks.directory_of(bare)
    has_hooks = not isinstance(hooks, str) and any(str(hooks / name) in earlier for name in git_hooks.HOOKS)
    return Wishes(
        env=session.env,
        cwd=session.cwd,
        config=session.config,
        launcher=launcher_to_name(session.env),
        service=not args.no_service,
        completions={} if args.no_completions else completions.MAKERS,
        cargo_shim=args.cargo_shim or os.path.realpath(cargo_shim.place(session.env)) in earlier,
        git_hooks=args.git_hooks or has_hooks,
    )


def _agreed(plan: Plan, args: argparse.Namespace, session: Session) -> bool:
    """Every question first, so that a no to the second leaves nothing half done."""
    for step in plan.changes:
        if step.question and not args.replace_wrapper:
            if args.yes:
                raise UsageError(
                    "another wrapper is in cargo's configuration, and --yes does not replace it",
                    why=step.question,
                    fix="add --replace-wrapper, or run kache init in a terminal",
                )
            if not confirmed(step.question, session, fix="add --yes --replace-wrapper"):
                return False
    return bool(args.yes) or confirmed("apply this?", session, fix="add --yes, or --check to only look", default=True)


def _finish(plan: Plan, wishes: Wishes, args: argparse.Namespace, session: Session) -> Result:
    started = _start_daemon(wishes)
    found = Finding("skip", "not probed")
    if not args.no_probe:
        from kache.setup.probe import probe

        with Progress("compiling a tiny crate in three checkouts, as cargo is configured now", session):
            found = probe(Surroundings(session.env, session.cwd, session.config), configured=True)
    data = {**_data(plan, applied=bool(plan.changes)), "daemon": started, "probe": found.to_json()}
    done = "kache is set up" if plan.changes else "nothing to change: kache is set up"
    lines = [] if plan.changes else [_plan_text(plan, sys.stdout)]
    if found.status == FAIL:
        lines += [f"probe: {found.what}", f"why: {found.why}", *(f"note: {text}" for text in plan.warnings)]
        lines.append("fix: see kache doctor; kache init --undo takes everything back")
        return Result(data, "\n".join(lines), exit_code=1)
    lines.append(f"probe: {found.what}")
    lines.append(f"{done}; {started}" + ("; kache init --undo takes it back" if plan.changes else ""))
    return Result(data, "\n".join(lines))


def _start_daemon(wishes: Wishes) -> str:
    if not wishes.config.daemon:
        return "no daemon, as KACHE_DAEMON is off"
    from kache.setup.login_service.starting import start

    try:
        start(wishes.env)
    except (KacheError, OSError) as error:
        say(f"warning: the daemon did not start: {error.line if isinstance(error, KacheError) else error}")
        return "the daemon does not run; the first compile starts it"
    return "the daemon runs"


def _undo(args: argparse.Namespace, wishes: Wishes, session: Session) -> Result:
    record = Record.load(wishes.env)
    files = [note.path for note in record.notes]
    data = {"files": files, "service": record.service, "left": [], "kept": []}
    if record.is_empty:
        return Result(data, "nothing to undo: kache init has changed nothing here")
    say("\n".join(["kache init --undo would put back:", *(f"  {path}" for path in files)]))
    if not args.yes and not confirmed("put it back?", session, fix="add --yes", default=True):
        return Result(data, "nothing changed", exit_code=1)
    left = planning.take_back(record, wishes)
    stopped = "" if record.service else _stop_daemon(wishes)
    told = [*left, *record.kept]
    lines = [*told, f"everything {'else ' if told else ''}that kache init changed is as it was before{stopped}"]
    lines.append(f"the store stays in {wishes.config.cache_dir}; kache purge empties it")
    return Result({**data, "left": left, "kept": record.kept}, "\n".join(lines), exit_code=1 if left else 0)


def _stop_daemon(wishes: Wishes) -> str:
    from kache.ipc.lifecycle import stop_daemon

    if not wishes.config.socket_path.exists():
        return ""
    try:
        stop_daemon(wishes.env)
    except KacheError:
        return ""
    return ", and the daemon is stopped"


def _plan_text(plan: Plan, stream: TextIO) -> str:
    lines = []
    for step in plan.steps:
        state = paint(f"{step.state:<7}", _COLOURS[step.state], stream)
        lines.append(f"  {state}  {step.name:<{_WIDTH}} {step.what}")
        lines += [
            f"  {'':7}  {'':{_WIDTH}} {word}: {text}" for word, text in (("why", step.why), ("fix", step.fix)) if text
        ]
    lines += [f"  warning: {text}" for text in plan.warnings]
    return "\n".join(lines)


def _data(plan: Plan, *, applied: bool) -> dict[str, object]:
    return {
        "applied": applied,
        "changes": len(plan.changes),
        "steps": [step.to_json() for step in plan.steps],
        "warnings": list(plan.warnings),
    }
