"""Those who watch: connections that are told what happens, as it happens, until they close."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kache.core.entry import Event
    from kache.daemon.server import Server

TOGETHER_S = 0.1
"""What happens within this is told at once: a warm build is hundreds of calls in a second."""
BEAT_S = 5.0
"""With nothing to tell, the state is told again this often."""


class Watcher(Protocol):
    """One connection."""

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message; one that takes none is dropped by its connection."""


class Watching:
    """Collects and tells; does nothing, and costs calls nothing, while nobody watches.

    Args:
        server: whose events.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self._watchers: set[Watcher] = set()
        self._wake = asyncio.Event()
        self._events: list[Event] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, watcher: Watcher) -> None:
        """Tell one the state now, and what happens from now on."""
        watcher.tell(self._message(()))
        self._watchers.add(watcher)
        self._server.engine.events.listener = self._heard
        if self._task is None:
            self._task = self._server.loop.create_task(self._run())

    def discard(self, watcher: Watcher) -> None:
        """A connection is gone; few of them watch."""
        if watcher in self._watchers:
            self._watchers.discard(watcher)
            if not self._watchers:
                self.close()

    def close(self) -> None:
        """Tell nobody any more."""
        self._server.engine.events.listener = None
        self._watchers.clear()
        self._events.clear()
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _heard(self, event: Event | None) -> None:
        """Of the engine, in whatever thread: a call ended, or (None) a compile began."""
        self._server.loop.call_soon_threadsafe(self._note, event)

    def _note(self, event: Event | None) -> None:
        if event is not None:
            self._events.append(event)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), BEAT_S)
                await asyncio.sleep(TOGETHER_S)
            except TimeoutError:
                pass
            self._wake.clear()
            events, self._events = tuple(self._events), []
            message = self._message(events)
            for watcher in tuple(self._watchers):
                watcher.tell(message)

    def _message(self, events: tuple[Event, ...]) -> dict[str, Any]:
        return {
            **self._server.status(),
            "at_ns": time.time_ns(),
            "transfers": self._server.transfers.state(),
            "plan": self._server.prefetches.last_plan(),
            "events": [_plain(event) for event in events],
        }


def _plain(event: Event) -> dict[str, Any]:
    return {
        "at_ns": event.at_ns,
        "build": event.build,
        "root": event.build_root,
        "command": event.build_command,
        "crate_name": event.crate_name,
        "unit_kind": event.unit_kind,
        "outcome": str(event.outcome),
        "reason": str(event.reason),
        "elapsed_us": event.elapsed_us,
        "compile_ms": event.compile_ms,
        "bytes": event.linked_bytes + event.cloned_bytes + event.copied_bytes,
    }
