"""Where the engine's log goes: one file in the cache dir, moved aside when it has grown."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from kache.errors import CacheDirError

MAX_BYTES = 4 << 20
_FORMAT = "%(asctime)s %(process)d %(levelname)s %(message)s"
_LEVELS = {"error": logging.ERROR, "warn": logging.WARNING, "info": logging.INFO, "debug": logging.DEBUG}


def to_file(path: Path, level: str) -> None:
    """Log to a file of this user's alone.

    Raises:
        CacheDirError: its directory is another user's, who may have put a link in the log's place.
        OSError: it cannot be written.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.parent.stat().st_uid != os.geteuid():
        raise CacheDirError(f"{path.parent} is not ours")
    if path.exists() and path.stat().st_size > MAX_BYTES:
        path.replace(path.with_suffix(".log.1"))
    handler = logging.FileHandler(path, errors="backslashreplace")
    path.chmod(0o600)
    _use(handler, level)


def to_stderr(level: str) -> None:
    """Log to stderr."""
    _use(logging.StreamHandler(sys.stderr), level)


def _use(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(logging.Formatter(_FORMAT))
    logger = logging.getLogger("kache")
    logger.addHandler(handler)
    logger.setLevel(_LEVELS.get(level, logging.INFO))
    logger.propagate = False
