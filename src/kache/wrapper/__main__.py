"""`python -m kache.wrapper`: serve the one conversation on fd 3 and exit (docs/explanation/protocol.md)."""

from __future__ import annotations

import logging
import os
import socket
import sys

from kache import __version__
from kache.config.load import load
from kache.config.paths import state_dir
from kache.core.outcome import Outcome, Reason
from kache.engine.decisions import Found, Missed, Passed
from kache.engine.engine import Engine
from kache.engine.logs import to_file
from kache.engine.requests import environment_text
from kache.engine.serve import Served
from kache.errors import KacheError
from kache.ipc import protocol
from kache.ipc.protocol import Done, Pass, ProtocolError, Request
from kache.store.local import LocalStore

EXIT_OTHER_VERSION = 86
LOG_NAME = "daemon.log"
SOCKET_FD = 3
LEAVE_FREE = 0.1  # see kache.daemon.services.store_care
log = logging.getLogger("kache")


def main(argv: list[str]) -> int:
    """Answer one request; a failure closes the connection, which means plain rustc."""
    if len(argv) == 2 and argv[0] == "--launcher-version" and argv[1] != __version__:
        return EXIT_OTHER_VERSION
    connection = socket.socket(fileno=SOCKET_FD)
    try:
        request = _receive(connection)
        if not isinstance(request, Request):
            return 1
        config = load(environment_text(request), None)
        to_file(config.cache_dir / LOG_NAME, config.log_level)
        store = LocalStore.open(config.cache_dir)
    except KacheError as error:
        # The one clear line; the launcher finds the connection closed and runs rustc.
        log.error("%s", error.line)
        return error.exit_code
    except (OSError, ProtocolError) as error:
        log.error("in-process engine: %s", error)
        return 1
    engine = Engine(store, config.cache_dir, state_dir(os.environ), outlives_builds=False)
    try:
        _serve(engine, connection, request)
        engine.flush()
        if config.gc and store.allocated_bytes() > config.max_size_bytes:
            store.gc(int(config.max_size_bytes * (1 - LEAVE_FREE)))
    except (KacheError, OSError, ProtocolError) as error:
        log.error("in-process engine: %s", error)
        return 1
    finally:
        engine.close()
        store.close()
    return 0


def _serve(engine: Engine, connection: socket.socket, request: Request) -> None:
    call = engine.arrive(request)
    decision = engine.begin(call)
    while isinstance(decision, Found):
        served = engine.restore(call, decision)
        if isinstance(served, Served):
            engine.flush()  # first: cargo may end, and its user ask for the counts, the moment the launcher does
            connection.sendall(served.hit.encode())
            connection.shutdown(socket.SHUT_WR)
            return
        decision = engine.begin(call) if served is None else served  # a blob was broken: now it is a miss
    if isinstance(decision, Missed):
        try:
            run = engine.compile(call, decision, wait=True)
        except OSError as error:
            decision = Passed(Reason.STORE_WRITE_FAILED, str(error), outcome=Outcome.ERROR)
        else:
            connection.sendall(run.encode())
            done = _receive(connection)
            if isinstance(done, Done) and done.token == run.token:
                engine.finish(done)
            else:
                engine.abandon(run.token)
            return
    if isinstance(decision, Passed):
        reason = decision.reason
        engine.passed(call, decision)
        engine.flush()
    else:  # a question to rustc: nobody stays to remember the answer, and like the daemon we count compiles alone
        reason = Reason.QUERY
    connection.sendall(Pass(reason).encode())
    connection.shutdown(socket.SHUT_WR)


def _receive(connection: socket.socket) -> protocol.Frame | None:
    header = _exactly(connection, protocol.HEADER_SIZE)
    if header is None:
        return None
    kind, length = protocol.parse_header(header)
    body = _exactly(connection, length)
    return None if body is None else protocol.decode(kind, body)


def _exactly(connection: socket.socket, size: int) -> bytes | None:
    kept = bytearray()
    while len(kept) < size:
        chunk = connection.recv(min(size - len(kept), 1 << 20))
        if not chunk:
            return None
        kept += chunk
    return bytes(kept)


if __name__ == "__main__":
    os.umask(0o077)
    sys.exit(main(sys.argv[1:]))
