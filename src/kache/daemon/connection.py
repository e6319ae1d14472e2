"""One connection of a launcher or of the CLI."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import struct
import sys
from typing import TYPE_CHECKING, Any, cast

from kache import __version__
from kache.compilers.rustc.key_inputs import PendingRecord
from kache.core.outcome import Outcome, Reason
from kache.daemon import warming
from kache.engine.calls import Call
from kache.engine.decisions import Answered, Asked, Decision, Found, Missed, Passed
from kache.engine.serve import Served, heavy_bytes
from kache.engine.single_flight import Flight
from kache.errors import StoreError
from kache.ipc import protocol
from kache.ipc.protocol import Busy, Control, Done, Pass, ProtocolError, Reply, Request, RequestFlag, Wait

if TYPE_CHECKING:
    from kache.daemon.server import Server
    from kache.engine.transfer.remotes import Remote

log = logging.getLogger("kache")
# Copying or hashing more would keep other calls waiting: it goes to a worker thread, which costs some 0.2 ms (1 MiB
# takes about 0.3 ms).
INLINE_BYTES = 5 << 20
_PENDING_WAIT_S = 30.0
_COPY_WAIT_S = 120
_MARGIN_S = 30
_MAX_UNREAD_BYTES = 1 << 20


class Connection(asyncio.Protocol):
    """Speaks docs/explanation/protocol.md, engine's side."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._engine = server.engine
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._token: int | None = None
        self._asked: Asked | None = None
        self._flight: Flight | None = None
        self._task: asyncio.Task[None] | None = None

    # ---- asyncio's callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse other users."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not inherit from it
        if _peer_uid(self._transport.get_extra_info("socket")) not in (None, os.getuid()):
            log.warning("refused a connection of another user")
            self._transport.abort()
            return
        self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes; act on each whole frame."""
        self._buffer += data
        try:
            while len(self._buffer) >= protocol.HEADER_SIZE:
                kind, length = protocol.parse_header(bytes(self._buffer[: protocol.HEADER_SIZE]))
                end = protocol.HEADER_SIZE + length
                if len(self._buffer) < end:
                    return
                frame = protocol.decode(kind, bytes(self._buffer[protocol.HEADER_SIZE : end]))
                del self._buffer[:end]
                self._take(frame)
        except ProtocolError as error:
            log.warning("closed a connection: %s", error)
            self._close()
        except Exception:
            log.exception("closed a connection")  # the launcher runs rustc
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The launcher is gone; what it compiled without telling is lost."""
        self._server.connections.discard(self)
        self._server.watching.discard(self)
        if self._token is not None:
            self._engine.abandon(self._token)
            self._token = None
            self._end_flight()
        if self._task is not None:
            self._task.cancel()

    # ---- frames

    def _take(self, frame: protocol.Frame) -> None:
        self._server.touched()
        if isinstance(frame, Request):
            self._request(frame)
        elif isinstance(frame, Done):
            self._done(frame)
        elif isinstance(frame, Control) and frame.message.get("op") == "watch":
            self._server.watching.add(self)
        elif isinstance(frame, Control):
            self._spawn(self._control(frame))
        else:
            raise ProtocolError(f"a {type(frame).__name__} frame from a client")

    def _request(self, request: Request) -> None:
        self._server.requests += 1
        call = self._engine.arrive(request)
        busy = self._not_ours(call)
        if busy:
            self._send(Busy(busy), close=True)
            return
        if request.flags & RequestFlag.ASIDE:
            with contextlib.suppress(PendingRecord):
                self._engine.begin(call)
            self._send(Pass(Reason.QUERY), close=True)
        else:
            self._decide(call)

    def _decide(self, call: Call) -> None:
        try:
            decision = self._engine.begin(call)
        except PendingRecord as pending:
            self._send(Wait(int(_PENDING_WAIT_S) + _MARGIN_S))
            self._spawn(self._after_pending(call, pending))
            return
        self._answer(call, decision)

    def _not_ours(self, call: Call) -> str:
        request = call.request
        if request.launcher_version != __version__:
            return "version"
        if self._server.draining:
            return "draining"
        if request.mount_ns and self._server.mount_ns and request.mount_ns != self._server.mount_ns:
            return "mount-namespace"
        if self._engine.config(call).cache_dir != self._server.cache_dir:
            return "cache-dir"
        return ""

    def _answer(self, call: Call, decision: Decision) -> None:
        """The quick answers at once; what waits or copies much becomes a task."""
        if isinstance(decision, Passed):
            self._pass(call, decision)
        elif isinstance(decision, Answered | Asked):
            if self._engine.wants_seed(call):
                self._send(Wait(_COPY_WAIT_S + int(self._engine.config(call).remote_warm_limit_s)))
                self._spawn(self._seed_first(call, decision))
            else:
                self._question(call, decision)
        elif isinstance(decision, Missed):
            if self._server.flights.knows(decision):
                self._send(Wait(int(self._server.flights.limit_s(decision)) + _MARGIN_S))
                self._spawn(self._join(call, decision))
            else:
                self._elsewhere(call, decision)
        else:
            self._found(call, decision)

    def _found(self, call: Call, decision: Found) -> None:
        if decision.outcome is Outcome.LOCAL_HIT and self._server.transfers.is_brought(decision.entry.key):
            decision.outcome = Outcome.PREFETCH_HIT
        if heavy_bytes(decision.entry, self._engine.store) > INLINE_BYTES:
            self._send(Wait(_COPY_WAIT_S))
            self._spawn(self._restore_in_thread(call, decision))
        else:
            self._served(call, self._engine.restore(call, decision))

    def _elsewhere(self, call: Call, missed: Missed) -> None:
        """Look in the remote if there is one worth asking, else compile."""
        remote = None if missed.place is None else self._server.transfers.remote_of(call, missed)
        if remote is None:
            self._compile(call, missed)
            return
        self._server.prefetches.begin(call)  # cargo asks no question in a target it has built in
        self._send(Wait(_COPY_WAIT_S))
        self._spawn(self._find(remote, call, missed))

    def _served(self, call: Call, served: Served | Passed | None) -> None:
        if served is None:
            self._decide(call)  # a blob was broken: now it is a miss
        elif isinstance(served, Passed):
            self._pass(call, served)
        else:
            self._send(served.hit, close=True)

    def _pass(self, call: Call, passed: Passed) -> None:
        self._send(Pass(passed.reason), close=True)
        self._engine.passed(call, passed)

    def _compile(self, call: Call, missed: Missed) -> None:
        try:
            run = self._engine.compile(call, missed, wait=False)
        except OSError as error:
            log.warning("cannot start recording: %s", error)
            reason = Passed(Reason.STORE_WRITE_FAILED, str(error), missed.shape.crate_name, missed.call.unit_kind)
            reason.outcome = Outcome.ERROR
            self._pass(call, reason)
            return
        self._token = run.token
        started = self._engine.started(run.token)
        assert started is not None
        if not started.is_private:  # what is not stored is not worth waiting for
            self._flight = self._server.flights.begin(started)
        self._send(run)

    def _done(self, done: Done) -> None:
        if self._asked is not None:
            self._engine.learn(self._asked, done)
            self._close()
            return
        if self._token is None or done.token != self._token:
            raise ProtocolError("DONE for no compile of this connection")
        self._token = None
        self._engine.expect(done)
        self._spawn(self._record(done))
        self._task = None  # the launcher may go, and it is recorded all the same

    def _question(self, call: Call, decision: Answered | Asked) -> None:
        self._server.prepare(call.build)
        self._server.prefetches.begin(call)
        if isinstance(decision, Answered):
            self._send(decision.hit, close=True)
        else:
            self._asked = decision
            self._send(self._engine.ask(decision))

    # ---- tasks

    async def _seed_first(self, call: Call, decision: Answered | Asked) -> None:
        await warming.bring_units(self._server, call)
        await self._server.in_thread(self._engine.seed, call)
        self._question(call, decision)

    async def _after_pending(self, call: Call, pending: PendingRecord) -> None:
        decision: Decision = Passed(Reason.INTERNAL_ERROR, "waiting for a record", outcome=Outcome.ERROR)
        for _ in range(1000):  # each round waits for another record
            await self._server.recorded(pending.path, _PENDING_WAIT_S)
            try:
                decision = self._engine.begin(call)
                break
            except PendingRecord as again:
                pending = again
        self._answer(call, decision)

    async def _join(self, call: Call, missed: Missed) -> None:
        if await self._server.flights.join(missed):
            try:
                decision = self._engine.begin(call)
            except PendingRecord:
                decision = missed
            if isinstance(decision, Found):
                decision.outcome = Outcome.DUP
                await self._restore_in_thread(call, decision)
                return
            if not isinstance(decision, Missed):
                self._answer(call, decision)
                return
            missed = decision
        self._compile(call, missed)

    async def _find(self, remote: Remote, call: Call, missed: Missed) -> None:
        if await self._server.transfers.find(remote, call, missed):
            decision: Decision = missed
            with contextlib.suppress(PendingRecord):
                decision = self._engine.begin(call)
            if isinstance(decision, Found):
                brought = self._server.transfers.is_brought(decision.entry.key)
                decision.outcome = Outcome.PREFETCH_HIT if brought else Outcome.REMOTE_HIT
                await self._restore_in_thread(call, decision)
                return
        if self._server.flights.knows(missed):  # while we asked, somebody began to compile the same
            await self._join(call, missed)
        else:
            self._compile(call, missed)

    async def _restore_in_thread(self, call: Call, found: Found) -> None:
        self._served(call, await self._server.in_thread(self._engine.restore, call, found))

    async def _record(self, done: Done) -> None:
        try:
            await self._server.in_thread(self._engine.finish, done)
        finally:
            self._end_flight()
            self._server.record_ended()
            self._close()

    async def _control(self, control: Control) -> None:
        try:
            answer = await self._server.control(control.message)
        except (KeyError, StoreError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        self._send(Reply(answer), close=True)

    # ---- plumbing

    def tell(self, message: dict[str, Any]) -> None:
        """Send what is watched; one that does not read (its terminal stands still) is not waited for."""
        if self._transport is not None and self._transport.get_write_buffer_size() > _MAX_UNREAD_BYTES:
            self._transport.abort()
            return
        self._send(Reply(message))

    def _end_flight(self) -> None:
        if self._flight is not None:
            self._server.flights.end(self._flight)
            self._flight = None

    def _spawn(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        self._task = self._server.loop.create_task(work)
        self._server.keep(self._task)

    def _send(self, frame: protocol.Frame, *, close: bool = False) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.write(frame.encode())
        if close:
            self._transport.close()

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


def _peer_uid(sock: socket.socket | None) -> int | None:
    """Uid of who connected (unix(7), SO_PEERCRED); None where the system does not tell."""
    if sock is None or not sys.platform.startswith("linux"):
        return None
    pid_uid_gid = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    uid: int = struct.unpack("3i", pid_uid_gid)[1]
    return uid
