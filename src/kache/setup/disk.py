"""Small questions to the disk that several checks ask."""

from __future__ import annotations

import os
from pathlib import Path


def nearest_existing(path: Path) -> Path:
    """The path itself or the first directory above it that is there."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path
