"""A build asks a planner service and tells it what it used; with a service that is slow, wrong or gone it goes on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from kache.core.usage import Intent
from kache.errors import PlannerError
from kache.planner import wire
from kache.planner.client import PlannerClient
from kache.planner.closure import Changes
from kache.planner.plan import Budget, PlannedUnit, PlanRequest
from kache.planner.wire import PlanAnswer
from tests.e2e.conftest import make_box  # noqa: F401 - fixtures are found by name
from tests.remote.conftest import machines  # noqa: F401 - the same
from tests.remote.test_build_manifests import records
from tests.remote.test_prefetch import asked
from tests.support import processes
from tests.support.histories import digest
from tests.support.machines import Machines, pushed
from tests.support.planner import PlannerService
from tests.support.projects import chain

REQUEST = PlanRequest(Intent(workspace=digest("w")), Changes())


def test_what_one_machine_told_the_service_another_fetches(
    machines: Machines,  # noqa: F811
    tmp_path: Path,
) -> None:
    """Guards the whole way: a build is recorded, told, planned with, fetched, used and scored; no manifest helps."""
    env = {"KACHE_PLANNER_TOKENS": "team:read+write:" + "t" * 24}
    with PlannerService(cwd=tmp_path, env=env, token="t" * 24) as service:
        settings = {"KACHE_PLANNER": service.url, "KACHE_PLANNER_TOKEN": "t" * 24}
        writer = machines.writer(**settings, KACHE_PREFETCH="1")
        writer.checkout("a", chain()).build()
        pushed(writer)
        (record,) = records(writer)
        name = record.intent.workspace.hex()
        told = lambda: service.ask("GET", f"/v1/workspaces/{name}").status == 200  # noqa: E731
        processes.until(told, limit_s=60, what="the service was told of the build")
        for path in (Path(machines.remote.removeprefix("file://")) / "v1" / "builds").rglob("*-*"):
            path.unlink()
        reader = machines.reader(writer, **settings)
        second = reader.checkout("b", chain())
        assert asked(reader, second.path)["brought"] == 3
        second.build().expect(hits=3, misses=0)
        (record,) = records(reader)
        assert record.score is not None and record.score.precision == 1.0


def test_a_planner_that_lies_wastes_bytes_within_the_budget_and_nothing_else(
    machines: Machines,  # noqa: F811
) -> None:
    """It names every entry there is as needed first, and a thousand that are not there."""
    writer = machines.writer()
    writer.checkout("a", chain()).build()
    pushed(writer)
    (record,) = records(writer)
    lies = tuple(
        PlannedUnit(digest("lie", number), f"lie{number}", "lib", b"", 1, 1 << 50, 0, "exact", 1.0)
        for number in range(1_000)
    )
    keys = tuple(
        PlannedUnit(unit.key, "wrong", "lib", b"", 0, 1 << 50, 0, "exact", 1.0) for unit in reversed(record.units)
    )
    body = msgspec.json.encode(PlanAnswer(units=(*keys, *lies)))
    with answering(_ok(body)) as port:
        reader = machines.reader(writer, KACHE_PLANNER=f"http://127.0.0.1:{port}", KACHE_PREFETCH_MAX_SIZE="100KiB")
        files = chain()
        files["leaf/src/lib.rs"] += "// another\n"
        second = reader.checkout("b", files)
        answer = asked(reader, second.path)
        assert answer["bytes"] <= 100 << 10
        second.build().expect(misses=3)
        second.same_bytes_as_plain()


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope", "something else than a plan"),
        (b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"units": [3]}', "something else than a plan"),
        (b"HTTP/1.1 503 Down\r\nContent-Length: 0\r\n\r\n", "503 Down"),
        (b'HTTP/1.1 401 No\r\nContent-Length: 33\r\n\r\n{"error": "x", "what": "who asks"}', "401"),
        (b"SSH-2.0-OpenSSH\r\n", "does not answer"),
        (b"", "does not answer"),
        (b"HTTP/1.1 302 Go\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n", "302"),
    ],
    ids=["text", "wrong-type", "down", "refused", "not-http", "closed", "elsewhere"],
)
def test_a_service_that_answers_otherwise_is_an_error_that_says_so(reply: bytes, why: str) -> None:
    with answering(reply) as port, pytest.raises(PlannerError) as raised:
        PlannerClient(f"http://127.0.0.1:{port}").plan(REQUEST, Budget(), 10)
    assert why in raised.value.line


def test_a_service_that_is_silent_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(PlannerError, match="does not answer"):
            PlannerClient(f"http://127.0.0.1:{silent.getsockname()[1]}").plan(REQUEST, Budget(), 0.05)
        assert time.monotonic() - started < 30
    with pytest.raises(PlannerError, match="does not answer"):
        PlannerClient("http://127.0.0.1:9").plan(REQUEST, Budget(), 5)


def test_a_build_without_its_service_is_like_any_other(machines: Machines) -> None:  # noqa: F811
    box = machines.writer(KACHE_PLANNER="http://127.0.0.1:9", KACHE_PREFETCH="1")
    project = box.checkout("a", chain())
    project.build().expect(misses=3)
    project.clean().build().expect(hits=3)
    assert len(records(box)) == 1


def test_an_answer_keeps_its_bounds() -> None:
    unit = PlannedUnit(b"k" * 32, "a", "lib", b"", 1, 1, 0, "exact", 1.0)
    too_many = b'{"units": [' + b",".join([msgspec.json.encode(unit)] * (wire.MAX_UNITS + 1)) + b"]}"
    with answering(_ok(too_many)) as port, pytest.raises(PlannerError, match="something else than a plan"):
        PlannerClient(f"http://127.0.0.1:{port}").plan(REQUEST, Budget(), 30)


def _ok(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """A port where every request gets the same bytes."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                try:
                    data = connection.recv(1 << 20)
                    head, _, rest = data.partition(b"\r\n\r\n")
                    length = next(
                        (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")),
                        0,
                    )
                    while len(rest) < length:
                        rest += connection.recv(1 << 20)
                    connection.sendall(reply)
                except OSError:
                    continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
