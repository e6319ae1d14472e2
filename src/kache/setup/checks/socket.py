"""The socket's path: short enough, in a private place, not taken by something else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kache.config.paths import MAX_SOCKET_PATH_BYTES
from kache.setup.finding import FAIL, OK, WARN, Finding, Surroundings

_NO_DAEMON = "no daemon can listen, so each call runs the engine itself"


def check(around: Surroundings) -> list[Finding]:
    """Look at the path the launcher would connect to."""
    path = around.config.socket_path
    length = len(os.fsencode(path))
    if length > MAX_SOCKET_PATH_BYTES:
        why = f"{length} bytes, a socket takes {MAX_SOCKET_PATH_BYTES}; {_NO_DAEMON}"
        return [Finding(FAIL, f"the socket path is too long: {path}", why, "set KACHE_SOCKET_PATH to a shorter one")]
    in_tmp = path.parent.parent == Path("/tmp")  # noqa: S108 - where the protocol puts a socket with a long path
    if in_tmp and path.parent.name == f"kache-{os.getuid()}":
        shared = _private_directory(path.parent)
        if shared:
            return [shared]
    try:
        facts = path.lstat()
    except FileNotFoundError:
        return [Finding(OK, f"{path} is free")]
    except OSError as error:
        return [Finding(FAIL, f"cannot look at {path}", f"{error.strerror}; {_NO_DAEMON}", "set KACHE_SOCKET_PATH")]
    if not stat.S_ISSOCK(facts.st_mode):
        return [Finding(FAIL, f"{path} is taken by something that is no socket", _NO_DAEMON, "move it away")]
    if facts.st_uid != os.getuid():
        why = f"it belongs to uid {facts.st_uid}; {_NO_DAEMON}"
        return [Finding(FAIL, f"the socket {path} is not ours", why, "set KACHE_SOCKET_PATH or KACHE_CACHE_DIR")]
    if facts.st_mode & 0o077:
        why = "the daemon refuses other users by itself, but the file should be 0600"
        return [Finding(WARN, f"others may connect to {path}", why, f"chmod 600 {path}", lambda: _close(path, 0o600))]
    return [Finding(OK, f"{path}")]


def _private_directory(directory: Path) -> Finding | None:
    try:
        facts = directory.lstat()
    except OSError:
        return None
    if stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o077:
        return None
    ours = stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid()
    return Finding(
        FAIL,
        f"{directory} is not a private directory of ours",
        _NO_DAEMON,
        f"chmod 700 {directory}, or set KACHE_SOCKET_PATH",
        (lambda: _close(directory, 0o700)) if ours else None,
    )


def _close(path: Path, mode: int) -> str:
    path.chmod(mode)
    return f"{path} is ours alone"
