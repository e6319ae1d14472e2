"""The service as an ASGI application: routes, who may use them, and errors as answers."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from kache.errors import PlannerDatabaseError
from kache.planner import wire
from kache.planner.service import history, limits, openapi, page
from kache.planner.service.auth import READ, WRITE, Door, Refused
from kache.planner.service.brain import Brain
from kache.planner.service.database import Database

log = logging.getLogger("kache")
RETAIN_EVERY_S = 3600.0
_JSON = "application/json"
_DEFAULT_ROWS = 50
_encode = msgspec.json.Encoder().encode
Handler = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class Settings:
    """How the service behaves.

    Attributes:
        keep_days: how long builds are remembered.
        rate_per_s: requests a second of one client; 0 for no bound.
    """

    keep_days: float = 90.0
    rate_per_s: float = 300.0


class Metrics:
    """What Prometheus is told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "kache_planner_requests", "Requests by route and status.", ("route", "status"), registry=self.registry
        )
        self.seconds = Histogram(
            "kache_planner_request_seconds",
            "Time to an answer by route.",
            ("route",),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0),
        )
        self.builds = Counter("kache_planner_builds", "Builds that were told of.", ("new",), registry=self.registry)
        self.database_bytes = Gauge("kache_planner_database_bytes", "Size of the database.", registry=self.registry)


class Service:
    """Handlers of all routes.

    Args:
        database: where builds are kept.
        door: who may come in.
        settings: how it behaves.
    """

    def __init__(self, database: Database, door: Door, settings: Settings) -> None:
        self._database = database
        self._brain = Brain(database)
        self._door = door
        self._settings = settings
        self._rate = limits.Rate(settings.rate_per_s)
        self._metrics = Metrics()

    def app(self) -> Starlette:
        """The application."""
        routes = [
            self._route("/v1/prefetch-plan", self._plan, "POST", READ),
            self._route("/v1/builds", self._build, "POST", WRITE),
            self._route("/v1/workspaces", self._workspaces, "GET", READ),
            self._route("/v1/workspaces/{workspace}", self._workspace, "GET", READ),
            self._route("/", self._overview, "GET", READ),
            self._route("/workspaces/{workspace}", self._page, "GET", READ),
            self._route("/healthz", self._health, "GET", ""),
            self._route("/readyz", self._ready, "GET", ""),
            self._route("/metrics", self._measures, "GET", ""),
            self._route("/openapi.json", self._document, "GET", ""),
        ]
        return Starlette(routes=routes, lifespan=self._life, exception_handlers={HTTPException: _http_problem})

    @contextlib.asynccontextmanager
    async def _life(self, app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(self._retain())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            self._database.close()

    async def _retain(self) -> None:
        while True:
            try:
                count = await run_in_threadpool(self._brain.retain, self._settings.keep_days)
                log.info("forgot %d builds of more than %g days ago", count, self._settings.keep_days)
            except PlannerDatabaseError as error:
                log.warning("%s", error.line)
            await asyncio.sleep(RETAIN_EVERY_S)

    def _route(self, path: str, handler: Handler, method: str, scope: str) -> Route:
        @functools.wraps(handler)
        async def guarded(request: Request) -> Response:
            started = time.perf_counter()
            answer = await self._guarded(request, handler, scope)
            self._metrics.requests.labels(path, str(answer.status_code)).inc()
            self._metrics.seconds.labels(path).observe(time.perf_counter() - started)
            return answer

        return Route(path, guarded, methods=[method])

    async def _guarded(self, request: Request, handler: Handler, scope: str) -> Response:
        """Turn everything that can go wrong into an answer."""
        is_page = not request.url.path.startswith(("/v1/", "/openapi"))
        try:
            if scope:
                refused = await self._may(request, scope, is_page=is_page)
                if refused is not None:
                    return refused
            return await handler(request)
        except limits.TooMuch:
            return _problem(413, "too-large", "the request is too large", fix="send less in one request")
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            return _problem(400, "bad-request", "the request cannot be understood", why=str(error)[:500])
        except PlannerDatabaseError as error:
            log.warning("%s", error.line)
            # Others need not know where it is, and should know that waiting a little is of no use.
            what = "the disk of the database is full" if error.is_full else "the database cannot be used just now"
            pause_s = "600" if error.is_full else "5"
            return _problem(503, error.code, what, headers={"Retry-After": pause_s})
        except (HTTPException, ClientDisconnect):
            raise
        except Exception:
            log.exception("a request failed")
            return _problem(500, "bug", "the service failed in a way it does not know", why="its log has the details")

    async def _may(self, request: Request, scope: str, *, is_page: bool) -> Response | None:
        """Why somebody may not; None if they may."""
        client = request.client.host if request.client else ""
        try:
            who = await run_in_threadpool(self._door.principal, request.headers.get("authorization", ""))
        except Refused as error:
            wait_s = self._rate.wait_s(f"nobody {client}")
            if wait_s:
                return _too_many(wait_s)
            scheme = "Basic" if is_page else "Bearer"
            headers = {"WWW-Authenticate": f'{scheme} realm="kache planner"'}
            fix = "set KACHE_PLANNER_TOKEN; in a browser the token is the password"
            return _problem(401, "unauthorized", "who asks is not known", why=str(error), fix=fix, headers=headers)
        wait_s = self._rate.wait_s(client if self._door.is_open else who.name)
        if wait_s:
            return _too_many(wait_s)
        if scope not in who.scopes:
            return _problem(403, "forbidden", f"{who.name} may not {scope}", fix=f"use a token with the scope {scope}")
        return None

    # ---- the API

    async def _plan(self, request: Request) -> Response:
        body = await _body(request, limits.MAX_QUESTION_BYTES)
        return Response(await run_in_threadpool(self._brain.answer, body), media_type=_JSON)

    async def _build(self, request: Request) -> Response:
        body = await _body(request, limits.MAX_REPORT_BYTES)
        new = await run_in_threadpool(self._brain.learn, body)
        self._metrics.builds.labels(str(new).lower()).inc()
        return Response(_encode(openapi.Told(new)), media_type=_JSON)

    async def _workspaces(self, request: Request) -> Response:
        found = await run_in_threadpool(history.workspaces, self._database)
        return Response(_encode(found), media_type=_JSON)

    async def _workspace(self, request: Request) -> Response:
        found = await self._found(request)
        return Response(_encode(found), media_type=_JSON)

    async def _found(self, request: Request) -> history.Workspace:
        text = request.path_params["workspace"]
        if len(text) != 64 or text.strip("0123456789abcdef"):
            raise msgspec.ValidationError("a workspace is written as 64 hexadecimal digits")
        limit = request.query_params.get("limit", str(_DEFAULT_ROWS))
        if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:6]) <= history.MAX_ROWS and len(limit) < 6):
            raise msgspec.ValidationError(f"limit is a number from 1 to {history.MAX_ROWS}")
        identity = bytes.fromhex(text)
        found = await run_in_threadpool(history.workspace, self._database, self._brain, identity, int(limit))
        if found is None:
            raise HTTPException(404, "no build of this workspace is known")
        return found

    # ---- for people and machines

    async def _overview(self, request: Request) -> Response:
        return _html(page.overview(await run_in_threadpool(history.workspaces, self._database)))

    async def _page(self, request: Request) -> Response:
        return _html(page.workspace(await self._found(request)))

    async def _health(self, request: Request) -> Response:
        return Response(b'{"ok":true}', media_type=_JSON)

    async def _ready(self, request: Request) -> Response:
        await run_in_threadpool(self._database.rows, "SELECT value FROM meta")
        return Response(b'{"ok":true}', media_type=_JSON)

    async def _measures(self, request: Request) -> Response:
        self._metrics.database_bytes.set(await run_in_threadpool(self._database.size_bytes))
        return Response(generate_latest(self._metrics.registry), media_type="text/plain; version=0.0.4")

    async def _document(self, request: Request) -> Response:
        return Response(_encode(openapi.document()), media_type=_JSON)


async def _body(request: Request, limit_bytes: int) -> bytes:
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "the request is encoded in a way that is not known")
    return await limits.whole(request.stream(), limit_bytes)


def _html(text: str) -> Response:
    headers = {"Content-Security-Policy": page.POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"}
    return HTMLResponse(text, headers=headers)


def _too_many(wait_s: float) -> Response:
    headers = {"Retry-After": str(max(round(wait_s), 1))}
    return _problem(429, "too-many", "too many requests", fix="ask again later", headers=headers)


def _problem(
    status: int, error: str, what: str, *, why: str = "", fix: str = "", headers: dict[str, str] | None = None
) -> Response:
    return Response(_encode(wire.Problem(error, what, why, fix)), status, headers, _JSON)


async def _http_problem(_: Request, error: Any) -> Response:
    """404, 405 and the like, in the same form."""
    return _problem(error.status_code, "http", str(error.detail), headers=dict(error.headers or {}))
