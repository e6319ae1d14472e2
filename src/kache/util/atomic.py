"""Files that are either the old or the new content, whatever happens in between."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write(path: Path, content: bytes) -> None:
    """Replace a file of this user's alone.

    Raises:
        OSError: it cannot be written; the old one is still there.
    """
    staged = path.with_name(f".{path.name}-{os.getpid()}.tmp")
    try:
        staged.write_bytes(content)
        staged.chmod(0o600)
        staged.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            staged.unlink()
        raise
