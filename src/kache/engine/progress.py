"""Lines where cargo's own go: one for each hit (KACHE_PROGRESS=1), and warnings.

Not by the wrapper's stderr: cargo keeps that with the unit, and would say it again in every build that finds it fresh.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

from kache.core.outcome import Outcome

_WORDS = {
    Outcome.LOCAL_HIT: "Cached",
    Outcome.PREFETCH_HIT: "Cached",
    Outcome.REMOTE_HIT: "Fetched",
    Outcome.DUP: "Shared",
}
_COLUMN = 12
"""Where cargo's words end."""


def is_told(outcome: Outcome) -> bool:
    """Whether there is a line for it."""
    return outcome in _WORDS


def tell(build_id: str, outcome: Outcome, crate: str, env: list[bytes], elapsed_us: int) -> None:
    """Write the line to the stderr of the cargo that asked; where that cannot be opened there is none.

    Args:
        build_id: "<pid>-<start ticks>" of that cargo.
        outcome: a kind of hit.
        crate: rustc's name of the crate.
        env: of the call; cargo gives the package's name and version in it.
        elapsed_us: time kache took.
    """
    package, version = _of(env, b"CARGO_PKG_NAME=") or crate, _of(env, b"CARGO_PKG_VERSION=")
    name = f"{package} v{version}" if version else package
    _write(build_id, lambda terminal: line(_WORDS[outcome], name, elapsed_us, terminal=terminal))


def warn(build_id: str, text: str) -> None:
    """Write a warning to the stderr of a cargo; where that cannot be opened there is none."""
    _write(build_id, lambda terminal: warning(text, terminal=terminal))


def _write(build_id: str, text: Callable[[bool], str]) -> None:
    pid = build_id.partition("-")[0]
    with contextlib.suppress(OSError):
        fd = os.open(f"/proc/{pid}/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        try:
            if not _is_overwritten(fd, pid):
                os.write(fd, text(os.isatty(fd)).encode())
        finally:
            os.close(fd)


def line(word: str, name: str, elapsed_us: int, *, terminal: bool) -> str:
    """`      Cached serde v1.0.0 (0.8 ms)`; on a terminal green, over cargo's progress bar."""
    text = f"{name} ({elapsed_us / 1000:.1f} ms)"
    padded = f"{word:>{_COLUMN}}"
    return f"\r\x1b[K\x1b[1;32m{padded}\x1b[0m {text}\n" if terminal else f"{padded} {text}\n"


def warning(text: str, *, terminal: bool) -> str:
    """`warning: kache: …` in one line, as cargo writes its own."""
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return f"\r\x1b[K\x1b[1;33mwarning\x1b[0m: kache: {plain}\n" if terminal else f"warning: kache: {plain}\n"


def _is_overwritten(fd: int, pid: str) -> bool:
    """In a file that cargo does not append to (`2>log`), its next line would go over ours."""
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        return False
    with open(f"/proc/{pid}/fdinfo/2") as file:
        flags = next((row.split()[1] for row in file if row.startswith("flags:")), "0")
    return not int(flags, 8) & os.O_APPEND


def _of(env: list[bytes], prefix: bytes) -> str:
    found = next((item for item in env if item.startswith(prefix)), b"")
    return os.fsdecode(found[len(prefix) :])
