"""How files get from the store into a target dir: by reflink, by hardlink or by copy."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from kache.setup.disk import nearest_existing
from kache.setup.finding import OK, SKIP, WARN, Finding, Surroundings

_FICLONE = 0x40049409
"""Source: linux/fs.h, _IOW(0x94, 9, int)."""
_CONTENT = b"kache doctor\n" * 1024


def check(around: Surroundings) -> list[Finding]:
    """Try both between the cache dir and this project's target dir, with files that are removed at once."""
    if around.cwd is None:
        return [Finding(SKIP, "the current directory is gone")]
    target_dir = target_dir_of(around)
    place = nearest_existing(target_dir or around.cwd)
    name = f"{target_dir}" if target_dir else f"{around.cwd}"
    store = nearest_existing(around.config.cache_dir)
    try:
        with (
            tempfile.NamedTemporaryFile(dir=store, prefix=".kache-doctor-") as source,
            tempfile.TemporaryDirectory(dir=place, prefix=".kache-doctor-") as target,
        ):
            source.write(_CONTENT)
            source.flush()
            reflink = _reflinks(source.fileno(), Path(target, "clone"))
            hardlink = _hardlinks(Path(source.name), Path(target, "link"))
    except OSError as error:
        return [Finding(SKIP, f"cannot try links between {store} and {name}: {error.strerror}")]
    if reflink or hardlink:
        can = " and ".join(word for word, works in (("reflink", reflink), ("hardlink", hardlink)) if works)
        return [Finding(OK, f"between the cache dir and {name}: {can}")]
    why = "they are on different filesystems, so every restore copies: slower, and each target takes its full size"
    return [
        Finding(WARN, f"no links between {store} and {name}", why, "put KACHE_CACHE_DIR on the disk of your checkouts")
    ]


def target_dir_of(around: Surroundings) -> Path | None:
    """Where cargo would put this project's artifacts; None outside a project."""
    from kache.cargo.intent import BuildIntent
    from kache.cargo.workspace import find

    env = {os.fsencode(name): os.fsencode(value) for name, value in around.env.items()}
    found = find(BuildIntent(b"build"), os.fsencode(str(around.cwd)), env) if around.cwd else None
    return Path(os.fsdecode(found.target_dir)) if found else None


def _reflinks(source_fd: int, target: Path) -> bool:
    if not sys.platform.startswith("linux"):
        return False  # macOS clones by path; the store's own code finds out when it restores
    import fcntl

    with target.open("wb") as clone:
        try:
            fcntl.ioctl(clone.fileno(), _FICLONE, source_fd)
        except OSError:
            return False
    return True


def _hardlinks(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
