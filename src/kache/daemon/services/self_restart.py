"""Start anew when the code on disk, the user's configuration or the store is no longer what runs."""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

import kache
from kache.config import paths

if TYPE_CHECKING:
    from kache.daemon.server import Server

log = logging.getLogger("kache")


async def run(server: Server, interval_s: float = 2.0) -> None:
    """Compare every `interval_s` seconds; restart in a quiet moment."""
    before = fingerprint()
    while True:
        await asyncio.sleep(interval_s)
        if server.engine.broken or fingerprint() != before:
            await asyncio.sleep(interval_s / 2)  # an installer at work: let it finish
            while server.engine.in_flight:
                await asyncio.sleep(0.1)
            log.info("code, configuration or store changed: starting anew")
            server.stop(restart=True)
            return


def fingerprint() -> tuple[tuple[int, int], ...]:
    """Dates and sizes of our own modules and of the configuration file."""
    package = Path(kache.__file__).parent
    named = os.environ.get("KACHE_CONFIG")
    config = Path(named) if named else paths.user_config_path(os.environ)
    files = [*sorted(package.rglob("*.py")), config]
    facts = []
    for file in files:
        try:
            found = file.stat()
            facts.append((found.st_mtime_ns, found.st_size))
        except OSError:
            facts.append((0, 0))
    return tuple(facts)
