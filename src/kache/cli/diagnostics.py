"""Standard error and exit codes: a known failure in three lines, anything else with its traceback."""

from __future__ import annotations

import errno
import os
import sys

from kache.cli.colour import RED, paint
from kache.cli.output import print_error_document
from kache.errors import CancelledError, KacheError, OutputError

EXIT_INTERNAL = 3
EXIT_BROKEN_PIPE = 141
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def say(text: str) -> None:
    """Talk to the user; never data."""
    print(text, file=sys.stderr, flush=True)


def report_known(command: str, error: KacheError, *, as_json: bool) -> int:
    """Print a failure kache knows and give the exit code."""
    if as_json:
        print_error_document(command, error)
        return error.exit_code
    lines = [f"{paint('error', RED, sys.stderr)}[{error.code}]: {error.what}"]
    if error.why:
        lines.append(f"why: {error.why}")
    if error.fix:
        lines.append(f"fix: {error.fix}")
    say("\n".join(lines))
    return error.exit_code


def report_interrupted(command: str, *, as_json: bool) -> int:
    """Say that a Ctrl-C ended it, and give the exit code."""
    return report_known(command, CancelledError("interrupted"), as_json=as_json)


def report_unforeseen(command: str, error: Exception, *, as_json: bool) -> int:
    """Leave quietly where nobody reads on, say so where stdout takes no more; all else is a bug."""
    if isinstance(error, BrokenPipeError):
        return leave_broken_pipe()
    if isinstance(error, OSError) and error.filename is None and error.errno in _UNWRITABLE:
        return report_unwritable(command, error)
    return report_bug(command, error, as_json=as_json)


def report_bug(command: str, error: BaseException, *, as_json: bool) -> int:
    """Print a failure nobody foresaw, with all that is needed to find it."""
    import platform
    import traceback

    from kache import __version__

    traceback.print_exception(error)
    say(f"kache {__version__}, Python {platform.python_version()}, {platform.platform()}")
    bug = KacheError(
        f"kache failed in a way it does not know: {type(error).__name__}: {error}",
        why="this is a bug in kache",
        fix="report it with the traceback above",
    )
    bug.code = "internal"
    report_known(command, bug, as_json=as_json)
    return EXIT_INTERNAL


def report_unwritable(command: str, error: OSError) -> int:
    """Say that standard output takes no more (a full disk), and leave nothing to flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    known = OutputError("cannot write to standard output", why=error.strerror or str(error))
    known.fix = "free space where it goes, or send it elsewhere"
    return report_known(command, known, as_json=False)


def leave_broken_pipe() -> int:
    """The reader of stdout went away (`kache list | head`): no words, and nothing left to flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_BROKEN_PIPE
