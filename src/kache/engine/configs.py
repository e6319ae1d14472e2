"""The settings of each workspace, read again when a file changed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

from kache.config.load import Config, load

_FRESH_S = 1.0
_REMEMBERED = 512
_NAMES = (b"KACHE_", b"HOME=", b"XDG_")


class Configs:
    """Reads a configuration at most once a second for each environment and directory."""

    def __init__(self) -> None:
        self._known: dict[tuple[tuple[bytes, ...], bytes], tuple[float, Config]] = {}

    def of(self, env: Iterable[bytes], cwd: bytes) -> Config:
        """The configuration for a caller's environment and working directory."""
        relevant = tuple(pair for pair in env if pair.startswith(_NAMES))
        known = self._known.get((relevant, cwd))
        now = time.monotonic()
        if known is not None and now - known[0] < _FRESH_S:
            return known[1]
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        pairs = (os.fsdecode(pair).partition("=") for pair in relevant)
        config = load({name: value for name, _, value in pairs}, Path(os.fsdecode(cwd)) if cwd else None)
        self._known[relevant, cwd] = (now, config)
        return config
