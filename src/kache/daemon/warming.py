"""Before a fresh target is filled: what the store lacks for that is brought from the remote, while cargo waits.

cargo waits for its first question as long as that is worth it, and not longer: no longer than `remote_warm_limit`, nor
than what is still to come would take to compile. What comes later is there for hits. Ctrl-C ends it, since the launcher
that waits is gone then.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from typing import TYPE_CHECKING

from kache.engine.calls import Call
from kache.engine.terminal import TerminalLine
from kache.errors import KacheError, RemoteError, StoreError

if TYPE_CHECKING:
    from kache.daemon.server import Server
    from kache.daemon.transfers import Opened
    from kache.engine.transfer.arrivals import Course
    from kache.engine.transfer.fetch import Fetched
    from kache.engine.transfer.remotes import Remote
    from kache.engine.transfer.sets_in import Brought
    from kache.engine.warm_start.shared import Wanted

log = logging.getLogger("kache")
SHOWN_AFTER_S = 0.3
_LOOK_S = 0.1


async def bring_units(server: Server, call: Call) -> None:
    """Bring what a build that begins in a fresh target may want; returns when it should begin. Raises nothing."""
    remote = server.transfers.readable(call)
    found = server.transfers.opened
    if remote is None or found is None:
        return
    try:
        wanted = await server.in_thread(_wanted, server, call)
        if wanted is None:
            return
        started = time.monotonic()
        brought = await found.sets_in.find(remote, wanted, call.build.id)
        remote.reads.succeeded()
        if brought.refused:
            found.reads.say(call.build.id, f"a unit set of {remote.place} is not used; see kache daemon log")
        if brought.first or brought.rest:
            await _Bringing(server, call, found, remote, wanted, brought).run(started)
    except RemoteError as error:
        found.reads.failed(remote, error, call.build.id)
    except (StoreError, OSError) as error:
        log.warning("warm start from %s: %s", remote.place, error.line if isinstance(error, KacheError) else error)
    except Exception:
        log.exception("warm start from %s failed", remote.place)


def _wanted(server: Server, call: Call) -> Wanted | None:
    from kache.compilers.rustc.invocation import Refusal

    toolchain = server.engine.toolchain_of(call)
    return None if isinstance(toolchain, Refusal) else server.engine.warm_start.wanted(call.build, toolchain)


class _Bringing:
    """One build's wait."""

    def __init__(
        self, server: Server, call: Call, found: Opened, remote: Remote, wanted: Wanted, brought: Brought
    ) -> None:
        self._server = server
        self._call = call
        self._found = found
        self._remote = remote
        self._wanted = wanted
        self._brought = brought
        self._line = TerminalLine(int(call.build.id.partition("-")[0]), call.build.argv)
        self._made: Fetched | None = None
        self._course: Course | None = None

    async def run(self, started: float) -> None:
        """Fetch, and wait as long as it is worth it."""
        sets, build, limit_s = self._found.sets_in, self._call.build.id, self._remote.warm_limit_s
        task = asyncio.ensure_future(sets.bring(self._remote, self._brought, first=True, build=build, tell=self._note))
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=_LOOK_S)
                waited_s = time.monotonic() - started
                if waited_s > SHOWN_AFTER_S:
                    self._show()
                if waited_s > limit_s or self._is_slower():
                    log.info("cargo starts while %s still sends", self._remote.place)
                    break
        except asyncio.CancelledError:
            task.cancel()  # cargo is gone
            raise
        finally:
            self._line.clear()
        count = await sets.keep(self._wanted, self._brought)
        waited_s = time.monotonic() - started
        log.info("%d units of %s after %.1f s", count, self._remote.place, waited_s)
        if task.done() and task.result().bytes and waited_s > 1:
            made = task.result()
            self._line.say("Fetched", f"{made.arrived} units, {made.bytes / 1e6:.1f} MB in {waited_s:.1f} s")
        self._server.keep(self._server.loop.create_task(self._rest(task)))

    async def _rest(self, task: asyncio.Future[Fetched]) -> None:
        """What nobody waits for: the rest of what is placed, and what hits may want."""
        if not task.done():
            await asyncio.wait({task})
            await self._found.sets_in.keep(self._wanted, self._brought)
        if self._brought.rest and not self._server.draining:
            await self._found.sets_in.bring(self._remote, self._brought, first=False, build=self._call.build.id)
            await self._found.sets_in.keep(self._wanted, self._brought)

    def _note(self, made: Fetched, course: Course) -> None:
        self._made, self._course = made, course

    def _is_slower(self) -> bool:
        """Whether what is still to come would be compiled sooner, by all cores."""
        if self._made is None or self._course is None or self._course.elapsed_s() < 1:
            return False
        waiting = (each for each in self._brought.first if each.entry.key not in self._made.keys)
        compile_s = sum(manifest.entry.compile_ms for manifest in waiting) / 1000 / (os.cpu_count() or 1)
        return self._course.left_s() > max(compile_s, self._remote.wait_s)

    def _show(self) -> None:
        made, course = self._made, self._course
        total = len(self._brought.first)
        if made is None or course is None:
            self._line.show("Fetching", f"{total} units from {self._remote.place}")
            return
        size = f"{course.arrived_bytes / 1e6:.0f} of {course.expected_bytes / 1e6:.0f} MB"
        self._line.show("Fetching", f"{made.arrived + made.here} of {total} units, {size}")
