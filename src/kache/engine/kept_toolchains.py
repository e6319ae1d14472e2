"""What is known of the machine's toolchains, kept in a file: finding it out reads half a gigabyte."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from kache.compilers.rustc.toolchain import Toolchains
from kache.util import atomic

FILE_NAME = "toolchains"
log = logging.getLogger("kache")


class KeptToolchains:
    """Loads and saves what `Toolchains.export` gives.

    Args:
        toolchains: gets what the files hold.
        state_dir: serves all caches of a user, and outlives each.
        cache_dir: for users without a home, or with one they cannot write.
    """

    def __init__(self, toolchains: Toolchains, state_dir: Path, cache_dir: Path) -> None:
        self._toolchains = toolchains
        self._paths = (state_dir / FILE_NAME, cache_dir / FILE_NAME)
        self._load()
        self._saved = toolchains.export()

    def save(self) -> None:
        """Write what was found out since; what the engine of another cache has kept meanwhile stays."""
        if self._toolchains.export() == self._saved:
            return
        self._load()
        for path in self._paths:
            try:
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                atomic.write(path, self._toolchains.export())
            except OSError as error:
                log.info("cannot keep what is known of toolchains in %s: %s", path, error)
            else:
                return

    def _load(self) -> None:
        for path in self._paths:
            with contextlib.suppress(OSError):
                self._toolchains.restore(path.read_bytes())
