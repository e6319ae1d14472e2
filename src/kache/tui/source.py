"""Where the monitor's facts come from: the index, read when it changed, and what the daemon tells as it happens."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kache.cargo import target_dirs
from kache.cargo.target_dirs import TargetDir
from kache.config.load import Config
from kache.errors import KacheError
from kache.reports import build_report, listing, wires
from kache.reports.build_report import Report, Unit
from kache.reports.database import INDEX, Window, reading
from kache.reports.listing import Row
from kache.reports.restorable import names_and_sizes
from kache.reports.wires import Wire
from kache.tui import fresh
from kache.tui.live import Live
from kache.util import processes

_CAUSES_EVERY_S = 5.0
_MINUTES = 60


@dataclass(frozen=True, slots=True)
class Compile:
    """One that runs now; `expected_ms` is the last one's time, 0 when there was none."""

    crate_name: str
    unit_kind: str
    build: str
    elapsed_ms: float
    expected_ms: int = 0


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is shown, at one moment.

    Attributes:
        now_ns: that moment.
        report: of the window.
        entries: of the store, by name.
        running: ids of builds whose cargo lives.
        compiles: what runs now; empty without a daemon.
        daemon: its answer; None when none runs.
        per_minute: hits of the last hour, a minute each, the oldest first.
        wire: what went to and from remotes.
        problem: why the store cannot be read; empty when it can.
    """

    now_ns: int
    report: Report
    entries: tuple[Row, ...] = ()
    running: frozenset[str] = frozenset()
    compiles: tuple[Compile, ...] = ()
    daemon: Mapping[str, Any] | None = None
    per_minute: tuple[int, ...] = ()
    wire: Wire = field(default_factory=Wire)
    problem: str = ""


@dataclass(slots=True)
class Source:
    """Takes snapshots; one thread uses it.

    Attributes:
        config: whose store.
        since_s: how far back the window reaches.
    """

    config: Config
    since_s: float
    _seen: tuple[tuple[int, int], ...] = ()
    _last: Snapshot | None = None
    _causes_at: float = float("-inf")
    _causes: dict[tuple[int, str], Unit] = field(default_factory=dict)
    _expected: dict[tuple[str, str], int] = field(default_factory=dict)
    _live: Live | None = None

    def take(self) -> Snapshot:
        """Look: two stats when nothing happened, a few queries when the index was written.

        What the daemon told and has not written yet is counted as if it had.
        """
        if self._live is None:
            self._live = Live(self.config.socket_path)
            self._live.start()
        told = self._live.told()
        now_ns = time.time_ns()
        seen = self._fingerprint()
        if self._last is None or seen != self._seen:
            self._seen = seen
            self._last = self._read(now_ns)
        last = self._last
        unseen = fresh.unseen(last.report, told.events)
        if not unseen:
            self._live.forget(len(told.events))
        report = fresh.with_events(last.report, unseen)
        return Snapshot(
            now_ns=now_ns,
            report=report,
            entries=last.entries,
            running=frozenset(build.id for build in report.builds[:20] if _lives(build.id)),
            compiles=self._compiles(told.daemon, now_ns),
            daemon=told.daemon,
            per_minute=last.per_minute if not unseen else _per_minute(report, now_ns),
            wire=last.wire,
            problem=last.problem,
        )

    def wait(self, limit_s: float) -> None:
        """Until the daemon tells something, or for so long."""
        if self._live is not None:
            self._live.wait(limit_s)

    def close(self) -> None:
        """Listen no more."""
        if self._live is not None:
            self._live.close()

    def target_dirs(self, report: Report) -> list[TargetDir]:
        """The target directories of the builds of a report; takes as long as reading them takes."""
        roots = {Path(build.root) for build in report.builds if build.root}
        with reading(self.config.cache_dir) as connection:
            restorable = names_and_sizes(connection)
        paths = {root / "target" for root in roots}
        return [target_dirs.measure(path, restorable) for path in sorted(paths) if target_dirs.is_target_dir(path)]

    def _fingerprint(self) -> tuple[tuple[int, int], ...]:
        index = self.config.cache_dir / INDEX
        facts = []
        for path in (index, index.with_name(f"{index.name}-wal")):
            try:
                found = os.stat(path)
                facts.append((found.st_mtime_ns, found.st_size))
            except OSError:
                facts.append((0, 0))
        return tuple(facts)

    def _read(self, now_ns: int) -> Snapshot:
        try:
            with reading(self.config.cache_dir) as connection:
                window = Window(since_ns=now_ns - int(self.since_s * 1e9))
                explains = time.monotonic() - self._causes_at >= _CAUSES_EVERY_S
                report = build_report.collect(
                    connection,
                    window,
                    scope="",
                    max_bytes=self.config.max_size_bytes,
                    now_ns=now_ns,
                    explains=explains,
                )
                self._keep_causes(report, explained=explains)
                entries = tuple(listing.collect(connection, None, "name"))
                wire = wires.collect(connection, now_ns)
        except KacheError as error:
            empty = build_report.collect(None, Window(), scope="", max_bytes=0, now_ns=now_ns)
            return Snapshot(now_ns, empty, problem=error.line)
        for unit in report.units:
            if unit.compile_ms:
                self._expected[unit.crate_name, unit.unit_kind] = unit.compile_ms
        return Snapshot(now_ns, report, entries, per_minute=_per_minute(report, now_ns), wire=wire)

    def _keep_causes(self, report: Report, *, explained: bool) -> None:
        """What was found out a moment ago still holds for the same misses."""
        if explained:
            self._causes_at = time.monotonic()
            self._causes = {(unit.at_ns, unit.crate_name): unit for unit in report.units if unit.cause}
        elif self._last is not None:
            report.causes = self._last.report.causes
            for unit in report.units:
                known = self._causes.get((unit.at_ns, unit.crate_name))
                if known is not None:
                    unit.cause, unit.detail = known.cause, known.detail

    def _compiles(self, daemon: Mapping[str, Any] | None, now_ns: int) -> tuple[Compile, ...]:
        """Those the daemon named last; they run on while it has nothing to tell."""
        if daemon is None:
            return ()
        since_ms = max(now_ns - daemon.get("at_ns", now_ns), 0) / 1e6
        return tuple(
            Compile(
                each["crate_name"],
                each["unit_kind"],
                each["build"],
                each["elapsed_ms"] + since_ms,
                self._expected.get((each["crate_name"], each["unit_kind"]), 0),
            )
            for each in daemon.get("compiles", ())
        )


def _lives(build: str) -> bool:
    pid, _, ticks = build.partition("-")
    return pid.isdigit() and ticks.isdigit() and processes.start_ticks(int(pid)) == int(ticks)


def _per_minute(report: Report, now_ns: int) -> tuple[int, ...]:
    counts = [0] * _MINUTES
    for unit in report.units:
        ago = int((now_ns - unit.at_ns) / 60e9)
        if 0 <= ago < _MINUTES and unit.outcome.endswith(("hit", "dup")):
            counts[_MINUTES - 1 - ago] += 1
    return tuple(counts)
