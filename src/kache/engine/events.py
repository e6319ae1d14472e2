"""How calls ended, until it is written to the store."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from typing import Any

from kache.core.entry import Event
from kache.core.outcome import Outcome
from kache.engine.calls import Call
from kache.store.local import LocalStore


class Events:
    """Events of any thread, and the one place that writes them.

    Args:
        store: keeps them.

    Attributes:
        listener: told each event, and None when a compile begins, in whatever thread that happens; None for nobody.
    """

    def __init__(self, store: LocalStore) -> None:
        self._store = store
        self._unwritten: list[Event] = []
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self.listener: Callable[[Event | None], None] | None = None

    @property
    def has_unwritten(self) -> bool:
        """Whether `write` has something to do."""
        return bool(self._unwritten)

    def begun(self) -> None:
        """A compile begins."""
        if self.listener is not None:
            self.listener(None)

    def add(self, call: Call, outcome: Outcome, **known: Any) -> Event:
        """Note how a call ended; `known` are further fields of `Event`."""
        elapsed_us = int((time.perf_counter() - call.clock) * 1e6)
        if outcome in (Outcome.MISS, Outcome.PASSTHROUGH):
            elapsed_us = max(elapsed_us - known.get("compile_ms", 0) * 1000, 0)
        event = Event(
            at_ns=call.at_ns,
            build=call.build.id,
            build_root=os.fsdecode(call.build.cwd),
            build_command=call.build.command,
            outcome=outcome,
            **{"elapsed_us": elapsed_us, **known},
        )
        with self._lock:
            self._unwritten.append(event)
        if self.listener is not None:
            self.listener(event)
        return event

    def write(self) -> None:
        """Write all of them; afterwards none is on its way by another thread either.

        Raises:
            StoreError: they are lost.
        """
        with self._writing:
            with self._lock:
                events, self._unwritten = self._unwritten, []
            if events:
                self._store.add_events(events)
