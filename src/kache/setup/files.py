"""Files of the user's that the setup changes: replaced whole, with the mode, owner and links they had."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path

from kache.setup.disk import nearest_existing


def obstacle(path: Path) -> str:
    """Why a file cannot be written, empty if it can; nothing is tried."""
    if path.is_symlink() and not path.exists():
        return f"it is a symbolic link to {path.readlink()}, which is not there"
    real = Path(os.path.realpath(path))
    if real.is_dir():
        return "it is a directory"
    # Root may write everything: a mode without a w says that the owner wants it left alone.
    if real.exists() and not (real.stat().st_mode & stat.S_IWUSR and os.access(real, os.W_OK)):
        return "it is read-only"
    directory = nearest_existing(real.parent)
    if not directory.is_dir():
        return f"{directory} is not a directory"
    if not os.access(directory, os.W_OK | os.X_OK) or not directory.stat().st_mode & stat.S_IWUSR:
        return f"{directory} is read-only"
    return ""


def make_directories(directory: Path) -> list[Path]:
    """Make a directory with those above it; the ones that were made, the outermost first.

    Raises:
        OSError: one cannot be made.
    """
    absent = []
    while not directory.exists():
        absent.append(directory)
        directory = directory.parent
    absent.reverse()
    for each in absent:
        each.mkdir(exist_ok=True)
    return absent


def replace(path: Path, content: bytes, mode: int | None = None) -> None:
    """Give a file new content; it is the old or the new one, whatever happens in between.

    Args:
        path: of the file; a symbolic link stays one.
        content: all of it.
        mode: its permissions; those it had, or the usual ones, when None.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    real = Path(os.path.realpath(path))
    staged = real.with_name(f".{real.name}.kache-{os.getpid()}")
    try:
        with staged.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if real.exists():
            facts = real.stat()
            shutil.copymode(real, staged)
            if (facts.st_uid, facts.st_gid) != (os.geteuid(), os.getegid()):
                with contextlib.suppress(OSError):
                    os.chown(staged, facts.st_uid, facts.st_gid)
        if mode is not None:
            staged.chmod(mode)
        staged.replace(real)
    except BaseException:
        staged.unlink(missing_ok=True)
        raise


def restore(backup: Path, path: Path) -> None:
    """Put a backup back: content, mode and dates.

    Raises:
        OSError: it cannot be written.
    """
    replace(path, backup.read_bytes())
    with contextlib.suppress(OSError):
        copy_facts(backup, path)


def copy_facts(source: Path, target: Path) -> None:
    """Give a file the mode and the dates of another.

    Raises:
        OSError: they cannot be changed.
    """
    shutil.copystat(source, target)
