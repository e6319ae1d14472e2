"""The daemon's prefetches: one for each build that begins, and those that people ask for."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from kache.engine.builds import is_over
from kache.engine.calls import Call
from kache.engine.requests import Announcement, environment_text
from kache.errors import KacheError

if TYPE_CHECKING:
    from kache.core.usage import BuildRecord, PlanScore
    from kache.daemon.server import Server
    from kache.engine.prefetch.fetching import PlanRun
    from kache.engine.prefetch.learning import Watched
    from kache.engine.prefetch.planning import Planning
    from kache.engine.transfer.remotes import Remote
    from kache.planner.plan import PrefetchPlan

log = logging.getLogger("kache")
_REMEMBERED = 256
_RUNS_KEPT = 64
_ADOPTED_NS = 3600 * 10**9
"""How long a prefetch waits for the build it was made for."""


class Prefetches:
    """Starts and scores them. Belongs to the daemon's event loop.

    Args:
        server: whose.

    Attributes:
        planners: URLs of the planner services that builds have named, with the token of each.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.planners: dict[str, str] = {}
        self._seen: deque[str] = deque(maxlen=_REMEMBERED)
        self._runs: dict[str, PlanRun] = {}
        self._unused: dict[bytes, tuple[int, PlanRun]] = {}
        self._last: PlanRun | None = None
        self._manifests: dict[bytes, BuildRecord] = {}

    def begin(self, call: Call) -> None:
        """A build asks its first question: fetch what it will need. Nothing waits for it."""
        if call.build.id in self._seen or not call.build.argv:
            return
        self._seen.append(call.build.id)
        config = self._server.engine.config(call)
        if config.planner:
            self.planners[config.planner] = environment_text(call.request).get("KACHE_PLANNER_TOKEN", "")
        if config.prefetch and config.remote is not None and not config.disabled:
            self._server.keep(self._server.loop.create_task(self._for_build(call)))

    async def ask(self, message: dict[str, Any]) -> dict[str, Any]:
        """`kache prefetch`.

        Raises:
            KeyError, TypeError, AttributeError: the message is not what it should be.
        """
        announcement = Announcement.from_message(message)
        if announcement.mount_ns != self._server.mount_ns:
            return {"ok": False, "why": "the daemon sees another filesystem"}
        call = self._server.engine.announced(announcement)
        watched = await self._server.in_thread(self._server.engine.learning.watched, call)
        self._server.engine.learning.forget(call.build.id)
        remote = self._server.transfers.readable(call)
        if watched is None or remote is None:
            return {"ok": False, "why": "there is no workspace here" if watched is None else "no remote can be used"}
        planning = self._planning(watched, str(message.get("name", "")), any_command=bool(message.get("any")))
        if message.get("dry_run"):
            plan = await self._whole_plan(call, planning, remote, str(message.get("namespace", "")))
            return {"ok": True, **await self._server.in_thread(planning.explained, plan)}
        run = self._new_run(planning)
        work = self._run(call, planning, remote, run, str(message.get("namespace", "")), self._lives)
        self._unused[planning.intent.workspace] = time.time_ns(), run
        if message.get("background"):
            self._server.keep(self._server.loop.create_task(work))
            return {"ok": True, "background": True}
        await work
        return {"ok": True, **run.to_json()}

    def score(self, build: str, record: BuildRecord) -> PlanScore | None:
        """The score of what was fetched for a build that ended; None where nothing was planned."""
        run = self._runs.pop(build, None)
        at_ns, earlier = self._unused.pop(record.intent.workspace, (0, None))
        if earlier is not None and earlier.planned and time.time_ns() - at_ns < _ADOPTED_NS:
            run = earlier if run is None else run.joined(earlier)
        if run is None or not run.planned:
            return None
        from kache.planner import scoring

        run.used = frozenset(unit.key for unit in record.units)
        return scoring.score(run.planned.values(), run.brought_ms, record.units, run.had)

    def last_plan(self) -> dict[str, Any] | None:
        """The last plan and what became of it, for people who watch; None while there is none."""
        return None if self._last is None else self._last.to_watch()

    # ---- one prefetch

    async def _for_build(self, call: Call) -> None:
        watched = await self._server.in_thread(self._server.engine.learning.watched, call)
        remote = self._server.transfers.readable(call) if watched is not None else None
        if watched is None or remote is None:
            return
        planning = self._planning(watched)
        run = self._new_run(planning, call.build.id)
        self._runs[call.build.id] = run
        while len(self._runs) > _RUNS_KEPT:
            self._runs.pop(next(iter(self._runs)))

        async def is_needed() -> bool:
            return not is_over(call.build.id) and not self._server.draining

        await self._run(call, planning, remote, run, "", is_needed)

    async def _run(
        self,
        call: Call,
        planning: Planning,
        remote: Remote,
        run: PlanRun,
        namespace: str,
        is_needed: Callable[[], Awaitable[bool]],
    ) -> None:
        """Plan by what is known here and begin at once; what others know refines it."""
        from kache.engine.prefetch.fetching import Fetching
        from kache.engine.prefetch.planning import merged, without

        config, server = self._server.engine.config(call), self._server
        opened = server.transfers.opened
        assert opened is not None  # whoever has a remote
        try:
            run.had = frozenset(await server.in_thread(server.engine.store.entry_keys))
            local = await server.in_thread(planning.plan, remote, config.prefetch_max_bytes)
            in_target = await server.in_thread(planning.in_target)
            run.replace(without(local.units, in_target))
            fetching = Fetching(server.engine.store, opened.reads.fetch, server.engine.learning)
            first = server.loop.create_task(fetching.run(run, remote, config.prefetch_max_bytes, is_needed))
            whole, answer = await asyncio.gather(
                self._whole_plan(call, planning, remote, namespace), self._answer(call, planning)
            )
            run.replace(without(merged(whole, answer), in_target))
            await first
            await fetching.run(run, remote, config.prefetch_max_bytes, is_needed)
        except (KacheError, OSError) as error:
            log.warning("prefetch: %s", error.line if isinstance(error, KacheError) else error)
        log.info("prefetch for %s: %s", planning.intent.label or "a workspace", run.to_json())

    async def _whole_plan(self, call: Call, planning: Planning, remote: Remote, namespace: str) -> PrefetchPlan:
        """A plan that knows the remote's build manifests as well."""
        from kache.engine.transfer import manifests

        more: list[BuildRecord] = []
        try:
            async with asyncio.timeout(remote.bulk.patience.total_s):
                more = await manifests.newest(remote, planning.intent.workspace, namespace, known=self._manifests)
        except (KacheError, TimeoutError) as error:
            log.info("no build manifests: %s", error.line if isinstance(error, KacheError) else "they take too long")
        limit = self._server.engine.config(call).prefetch_max_bytes
        return await self._server.in_thread(planning.plan, remote, limit, more)

    async def _answer(self, call: Call, planning: Planning) -> Any:
        """What the planner service says, if there is one and it answers in time."""
        config = self._server.engine.config(call)
        if not config.planner:
            return ()
        from kache.planner.client import ASK_S, PlannerClient
        from kache.planner.plan import Budget

        client = PlannerClient(config.planner, environment_text(call.request).get("KACHE_PLANNER_TOKEN", ""))
        budget = Budget(size_bytes=config.prefetch_max_bytes)
        request = await self._server.in_thread(planning.request)
        try:
            async with asyncio.timeout(ASK_S):
                return (await asyncio.to_thread(client.plan, request, budget)).units
        except (KacheError, TimeoutError) as error:
            why = error.line if isinstance(error, KacheError) else f"no answer within {ASK_S} s"
            log.info("planning without %s: %s", config.planner, why)
            return ()

    async def _lives(self) -> bool:
        return not self._server.draining

    def _planning(self, watched: Watched, name: str = "", *, any_command: bool = False) -> Planning:
        from msgspec.structs import replace

        from kache.engine.prefetch.planning import Planning

        intent = replace(watched.intent, command="") if any_command else watched.intent
        return Planning(self._server.engine.store, watched.place, intent, name)

    def _new_run(self, planning: Planning, build: str = "") -> PlanRun:
        from kache.engine.prefetch.fetching import PlanRun

        self._last = PlanRun(planning.intent.workspace, build, label=planning.intent.label, at_ns=time.time_ns())
        return self._last
