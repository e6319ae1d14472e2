"""What the daemon tells as it happens: a thread that listens, and listens again when the daemon comes back."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kache.errors import KacheError
from kache.ipc.client import Watch

_AGAIN_S = 1.0
"""Between two looks whether a daemon is there."""
_KEPT_EVENTS = 20_000


@dataclass(frozen=True, slots=True)
class Told:
    """What is known at a moment.

    Attributes:
        daemon: its last message; None when none runs.
        events: calls that ended, the oldest first, since they were last forgotten.
    """

    daemon: Mapping[str, Any] | None = None
    events: tuple[Mapping[str, Any], ...] = ()


class Live:
    """Listens from `start` to `close`; any thread may ask.

    Args:
        socket_path: the daemon's.
    """

    def __init__(self, socket_path: Path) -> None:
        self._socket_path = socket_path
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._ends = threading.Event()
        self._watch: Watch | None = None
        self._daemon: Mapping[str, Any] | None = None
        self._events: list[Mapping[str, Any]] = []
        self._has_tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kache-live", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End."""
        self._ends.set()
        self._news.set()
        with self._lock:
            if self._watch is not None:
                self._watch.close()

    def wait(self, limit_s: float) -> None:
        """Until there is news, or for so long."""
        self._news.wait(limit_s)
        self._news.clear()

    def told(self, limit_s: float = 1.0) -> Told:
        """What is known now; the first time it waits until the daemon has answered, or is not there."""
        self._has_tried.wait(limit_s)
        with self._lock:
            return Told(self._daemon, tuple(self._events))

    def forget(self, count: int) -> None:
        """The oldest so many events are in the index by now."""
        with self._lock:
            del self._events[:count]

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                self._listen()
            except (KacheError, OSError):
                self._take(None)
            self._has_tried.set()
            self._ends.wait(_AGAIN_S)

    def _listen(self) -> None:
        if not self._socket_path.exists():
            self._take(None)
            return
        watch = Watch(self._socket_path)
        with self._lock:
            self._watch = watch
        try:
            while not self._ends.is_set():
                self._take(watch.next())
                self._has_tried.set()
        finally:
            with self._lock:
                self._watch = None
            watch.close()

    def _take(self, message: Mapping[str, Any] | None) -> None:
        with self._lock:
            if message is not None and "error" in message:
                message = None  # a daemon of a version that cannot be watched
            changed = message != self._daemon
            self._daemon = message
            if message is not None:
                self._events += message.get("events", ())
                del self._events[:-_KEPT_EVENTS]
        if changed:
            self._news.set()
