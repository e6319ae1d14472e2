"""Calls on their way through the engine, and the compiles it handed out."""

from __future__ import annotations

from dataclasses import dataclass

from kache.config.load import Config
from kache.engine.builds import Build
from kache.engine.decisions import Missed
from kache.engine.edits import Edit
from kache.engine.record import Moments
from kache.ipc.protocol import Request


@dataclass(slots=True)
class Call:
    """One call on its way through the engine.

    Attributes:
        request: what the launcher sent.
        at_ns: when it came, ns since the Unix epoch.
        clock: the same on the monotonic clock, seconds.
        build: the cargo command it belongs to.
        config: settings of its workspace, once they were asked for.
    """

    request: Request
    at_ns: int
    clock: float
    build: Build
    config: Config | None = None


@dataclass(slots=True)
class Compile:
    """A compile handed out.

    Attributes:
        call: whose it is.
        missed: what was looked up.
        around: what was seen when it started and when it ended.
        edit: its unit is being edited.
        is_private: its outputs fit nobody else and are not stored.
    """

    call: Call
    missed: Missed
    around: Moments
    edit: Edit | None = None
    is_private: bool = False

    @property
    def started_ns(self) -> int:
        """The filesystem's clock when it started."""
        return self.around.started_ns

    @property
    def is_incremental(self) -> bool:
        """It reads and writes incremental state."""
        return self.edit is not None and self.edit.is_further
