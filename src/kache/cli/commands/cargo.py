"""`kache cargo`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kache.cli.diagnostics import say
from kache.cli.held_program import HeldProgram
from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.seeding import seed
from kache.cli.session import Session
from kache.cli.watching import scripts_watched
from kache.engine.builds import Builds
from kache.errors import ProgramMissingError, UsageError
from kache.reports import stats
from kache.reports.database import Window
from kache.setup.init.cargo_shim import real_cargo
from kache.setup.init.cargo_wrapper import is_kache, launcher_to_name

DESCRIPTION = (
    "Run cargo with its compiles cached, whatever else is set up. On a terminal it ends with a line on what the\n"
    "cache did; the setting `summary` makes that always or off. With KACHE_WARM_START=1 what the store has of the\n"
    "coming build is put into the target directory first, and the checkout's own build scripts are watched, so that\n"
    "their runs can be put there as well. All words but a leading --json or --help are cargo's.\n"
    "Nothing is written to any configuration. The exit status is cargo's."
)
EXAMPLES: Examples = (
    ("kache cargo build --release", "cargo build --release, cached"),
    ("kache cargo +1.85 test", "with rustup's toolchain of that name"),
    ("kache cargo --offline check", "cargo's options, wherever they stand"),
    ("kache cargo --json check", "what the cache did, as a document after what cargo prints"),
)
_WRAPPER = "RUSTC_WRAPPER"
_FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_OTHERS = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_KILLED = 128


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the words."""
    parser.add_argument("words", metavar="...", nargs=argparse.REMAINDER, help="what cargo is called with")


def run(args: argparse.Namespace, session: Session) -> Result:
    """Run cargo, then count."""
    words = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise UsageError("kache cargo is given nothing to run", fix="try kache cargo build")
    session.warn_of_config_problems()
    env = _environment(session.env)
    began_ns = time.time_ns()
    build, exit_code = _run([_cargo(env), *words], env, session)
    with session.index() as connection:
        found = stats.collect(connection, Window(build=build), session.config.max_size_bytes)
        if not any(found.outcomes.values()):  # it has another cargo build for it, as `cargo clippy` does
            window = Window(since_ns=began_ns, root=session.real_path(Path()))
            found = stats.collect(connection, window, session.config.max_size_bytes)
    line = stats.to_line(found)
    if line and _is_wanted(session):
        say(f"kache: {line}")
    data: dict[str, Any] = {"build": build, "exit_status": exit_code, "stats": found.to_json()}
    return Result(data, exit_code=exit_code)


def _environment(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's, with this kache as the wrapper: the variable outranks every file cargo reads."""
    launcher = launcher_to_name(env)
    if launcher is None:
        raise ProgramMissingError(
            "there is no launcher to give to cargo",
            why="this Python package has no native kache beside it",
            fix="install kache with pip, pipx or uv tool",
        )
    other = env.get(_WRAPPER, "")
    if other and not is_kache(other):
        say(f"note: {_WRAPPER}={other} does not count for this command")
    return {**env, _WRAPPER: str(launcher)}


def _cargo(env: Mapping[str, str]) -> str:
    found = real_cargo(env)
    if found is None:
        raise ProgramMissingError(
            "cargo was not found", why="PATH has no program of that name", fix="install Rust, or mend PATH"
        )
    return found


def _run(argv: list[str], env: Mapping[str, str], session: Session) -> tuple[str, int]:
    """Run cargo to its end; the id its build has in the records, and its exit status as a shell gives it."""
    children: list[HeldProgram] = []
    watched = scripts_watched(env[_WRAPPER], env, session)
    with _signals_for(children), watched as more, HeldProgram(argv, {**env, **more}) as child:
        children.append(child)
        seed(child.pid, argv, env, session, more)
        child.let_go()
        build = Builds().of(child.pid).id
        status = child.wait()
    return build, status if status >= 0 else _KILLED - status


@contextmanager
def _signals_for(children: list[HeldProgram]) -> Iterator[None]:
    """While cargo runs, signals are its business; how it ends by them is told by its exit status."""

    def pass_on(number: int, _: object) -> None:
        # The terminal sends these to cargo too, which might take a second one for the user's impatience.
        if number in _FROM_TERMINAL and _is_in_foreground():
            return
        for child in children:
            child.send_signal(number)

    # What is ignored (nohup, a script's background job) stays ignored, here and in cargo.
    wanted = [number for number in (*_FROM_TERMINAL, *_OTHERS) if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, pass_on) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _is_in_foreground() -> bool:
    """Whether the terminal's keys send their signals to this process group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


def _is_wanted(session: Session) -> bool:
    mode = session.config.summary
    return mode == "always" or (mode == "auto" and not session.as_json and os.isatty(sys.stderr.fileno()))
