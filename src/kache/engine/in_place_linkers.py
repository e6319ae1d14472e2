"""Whether a linker is at hand that writes into the file it finds: then what linkers write is shared with nobody."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

_NAMES = ("mold", "ld.mold", "sold")
"""mold overwrites the inode it finds; ld.bfd and lld make a new one (docs/decisions/0003)."""
_STANDS_S = 30.0


class InPlaceLinkers:
    """Looks for them on PATH, and again when an answer is older than 30 s."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, bool]] = {}

    def at_hand(self, env: Mapping[bytes, bytes], words: Sequence[bytes] = ()) -> bool:
        """Whether PATH has one, or one of a compile's words names one."""
        return any(b"mold" in word for word in words) or self._on_path(env.get(b"PATH", b""))

    def _on_path(self, path: bytes) -> bool:
        asked_s, found = self._known.get(path, (0.0, False))
        now_s = time.monotonic()
        if path not in self._known or now_s - asked_s > _STANDS_S:
            folders = [folder for folder in os.fsdecode(path).split(os.pathsep) if folder]
            found = any(os.access(os.path.join(folder, name), os.X_OK) for folder in folders for name in _NAMES)
            if len(self._known) > 16:
                self._known.clear()
            self._known[path] = (now_s, found)
        return found
