"""A line on the terminal that a command was typed at: cargo captures what its probes print, and nobody would see it.

Nothing is written where there is no terminal, where the command is not in the foreground of it, or asked to be quiet.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence

_QUIET = (b"-q", b"--quiet")
_COLUMN = 12
"""Where cargo's words end."""
_WIDTH = 79
"""A longer line could wrap, and a wrapped one cannot be taken back."""


class TerminalLine:
    """A line that is written over as things go, and taken away at the end.

    Args:
        pid: of the command.
        argv: of the command.
    """

    def __init__(self, pid: int, argv: Sequence[bytes]) -> None:
        self._path = None if any(word in _QUIET for word in argv) else terminal_of(pid)
        self._is_shown = False

    def show(self, word: str, text: str) -> None:
        """Write it, in place of what it was."""
        line = f"{word:>{_COLUMN}} {text}"[:_WIDTH]
        coloured = f"\x1b[1;32m{line[:_COLUMN]}\x1b[0m{line[_COLUMN:]}"
        self._is_shown = self._write(f"\r\x1b[K{coloured}") or self._is_shown

    def say(self, word: str, text: str) -> None:
        """Write a line that stays."""
        self.show(word, text)
        self._write("\r\n")
        self._is_shown = False

    def clear(self) -> None:
        """Take it away."""
        if self._is_shown:
            self._write("\r\x1b[K")
            self._is_shown = False

    def _write(self, text: str) -> bool:
        if self._path is None:
            return False
        with contextlib.suppress(OSError):  # gone, or stopped (Ctrl-S): nobody waits for a terminal
            fd = os.open(self._path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                os.write(fd, text.encode())
                return True
            finally:
                os.close(fd)
        return False


def terminal_of(pid: int) -> str | None:
    """Path of the terminal that a process of ours is in the foreground of; None elsewhere than on Linux."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b") ")[2].split()
        # proc(5): 5 is the process group, 7 the terminal, 8 the terminal's foreground group; state is field 3.
        group, device, foreground = int(fields[2]), int(fields[4]), int(fields[5])
    except (OSError, ValueError, IndexError):
        return None
    if device == 0 or group != foreground:
        return None
    major, minor = os.major(device), os.minor(device)
    path = f"/dev/pts/{(major - 136) * 256 + minor}" if 136 <= major <= 143 else f"/dev/tty{minor}"
    try:
        return path if os.stat(path).st_rdev == device else None
    except OSError:
        return None
