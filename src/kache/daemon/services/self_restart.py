"""Start anew when the code on disk, the configuration or the store is no longer what runs; end without a cache dir."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from typing import TYPE_CHECKING

from kache.config import paths
from kache.daemon.heartbeat import beat

if TYPE_CHECKING:
    from kache.daemon.server import Server

log = logging.getLogger("kache")
Fingerprint = tuple[tuple[int, int, int], ...]


async def run(server: Server, interval_s: float = 2.0, busy_s: float = 10.0) -> None:
    """Compare every `interval_s` seconds, while rustc runs every `busy_s`; restart in a quiet moment."""
    files = watched()
    before = fingerprint(files)
    cache_dir = os.open(server.config.cache_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    compared_at = time.monotonic()
    while True:
        await beat(interval_s)
        if server.engine.in_flight and time.monotonic() - compared_at < busy_s:
            continue
        compared_at = time.monotonic()
        if os.fstat(cache_dir).st_nlink == 0:
            log.info("the cache dir is gone: nobody will ask any more")
            server.stop()
            return
        if server.engine.broken or fingerprint(files) != before:
            await asyncio.sleep(interval_s / 2)  # an installer at work: let it finish
            while server.engine.in_flight:
                await asyncio.sleep(0.1)
            log.info("code, configuration or store changed: starting anew")
            server.stop(restart=True)
            return


def watched() -> list[str]:
    """The files of our own modules that are loaded, and the configuration files (0.1 ms to look at, each time)."""
    ours = [module for name, module in sys.modules.items() if name.partition(".")[0] == "kache"]
    code = {str(module.__file__) for module in ours if getattr(module, "__file__", None)}
    own = os.environ.get("KACHE_CONFIG") or str(paths.user_config_path(os.environ))
    return [*sorted(code), own, str(paths.system_config_path(os.environ))]


def fingerprint(files: list[str]) -> Fingerprint:
    """Inodes, dates and sizes; zeros for a file that is not there."""
    facts = []
    for file in files:
        try:
            found = os.stat(file)
            facts.append((found.st_ino, found.st_mtime_ns, found.st_size))
        except OSError:
            facts.append((0, 0, 0))
    return tuple(facts)
