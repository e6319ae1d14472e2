"""The planner service as a process: what it learns, what it answers, and what it refuses."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from kache.core.usage import Intent, PlanScore
from kache.planner import wire
from kache.planner.plan import Budget
from kache.planner.service.database import SCHEMA_VERSION
from tests.support.filesystems import small_tmpfs
from tests.support.histories import Crate, Tree, digest
from tests.support.planner import PlannerService
from tests.support.sandbox import KACHE

TREE = Tree.of(Crate("libc"), Crate("serde"), Crate("leaf", ("serde",), is_member=True), Crate("app", ("leaf", "libc")))
CHROMIUM = next((path for name in ("chromium", "google-chrome", "chrome") if (path := shutil.which(name))), None)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlannerService]:
    """One for all tests that look at workspaces of their own."""
    with PlannerService(cwd=tmp_path_factory.mktemp("planner")) as running:
        yield running


def named(name: str) -> Tree:
    """The same crates in a workspace of one test's own."""
    return Tree.of(*TREE.crates.values(), name=name, label=name)


def test_what_one_machine_built_another_is_told_to_fetch(service: PlannerService) -> None:
    tree = named("told")
    assert service.tell(tree.record()).json == {"new": True}
    assert service.tell(tree.record()).json == {"new": False}, "a report that is sent again counts once"
    answer = service.plan(tree.today, tree.changes)
    assert [unit.crate_name for unit in answer.units] == list(TREE.crates)
    after = tree.bump("serde", "2")
    assert [unit.crate_name for unit in service.plan(after.today, after.changes).units] == ["libc"]
    assert service.plan(tree.today, tree.changes, Budget(keys=1)).units[0].crate_name in TREE.crates


def test_a_new_build_changes_the_answer_to_the_same_question(service: PlannerService) -> None:
    """Guards answers kept in memory."""
    tree = named("again")
    assert not {unit.key for unit in service.plan(tree.today, tree.changes).units} & {tree.key("app"), tree.key("leaf")}
    service.tell(tree.record())
    assert len(service.plan(tree.today, tree.changes).units) == 4
    assert service.plan(tree.today, tree.changes) == service.plan(tree.today, tree.changes)


def test_history_is_told_by_workspace(service: PlannerService) -> None:
    tree = named("history")
    score = PlanScore(fetched_bytes=200, used_bytes=150, needed_bytes=300, late=2)
    hit = tuple(msgspec.structs.replace(unit, outcome="prefetch_hit") for unit in tree.record().units)
    service.tell(tree.record(score=score, units=hit))
    name = tree.today.workspace.hex()
    found = service.ask("GET", f"/v1/workspaces/{name}").json
    assert found["summary"]["label"] == "history" and found["summary"]["hit_rate"] == 1.0
    assert (found["summary"]["precision"], found["summary"]["recall"]) == (0.75, 0.5)
    assert found["builds"][0]["late"] == 2 and {unit["crate_name"] for unit in found["slowest"]} == set(TREE.crates)
    assert name in {each["workspace"] for each in service.ask("GET", "/v1/workspaces").json["workspaces"]}
    assert service.ask("GET", f"/v1/workspaces/{'0' * 64}").status == 404


def test_it_says_how_it_is(service: PlannerService) -> None:
    assert service.ask("GET", "/healthz").status == 200 and service.ask("GET", "/readyz").status == 200
    service.plan(TREE.today)
    measures = service.ask("GET", "/metrics")
    assert b'kache_planner_requests_total{route="/v1/prefetch-plan",status="200"}' in measures.body
    assert b"kache_planner_database_bytes" in measures.body
    document = service.ask("GET", "/openapi.json").json
    assert set(document["paths"]) >= {"/v1/prefetch-plan", "/v1/builds"}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/v1/prefetch-plan", b"", 400, "understood"),
        ("/v1/prefetch-plan", b"{", 400, "understood"),
        ("/v1/prefetch-plan", b"\xff\xfe", 400, "understood"),
        ("/v1/prefetch-plan", b"[" * 100_000, 400, "understood"),
        ("/v1/prefetch-plan", b'{"intent": {"workspace": "AAAA"}}', 400, "length"),
        ("/v1/builds", b'{"schema": 99}', 400, "understood"),
        ("/v1/builds", b'{"id": 3}', 400, "understood"),
        ("/v1/nothing", b"", 404, "Not Found"),
        ("/v1/prefetch-plan", b" " * (5 << 20), 413, "too large"),
    ],
    ids=["empty", "cut", "no-text", "deep", "short-id", "newer-schema", "wrong-type", "no-route", "huge"],
)
def test_what_is_no_request_gets_an_error_that_says_so(
    service: PlannerService, path: str, body: bytes, status: int, says: str
) -> None:
    answer = service.ask("POST", path, body)
    assert answer.status == status
    assert says in answer.json["what"] + answer.json["why"]


def test_hostile_numbers_and_references_are_refused(service: PlannerService) -> None:
    record = named("hostile").record()
    unit = record.units[0]
    for bad in (
        msgspec.structs.replace(unit, waits=(99,)),
        msgspec.structs.replace(unit, size_bytes=-1),
        msgspec.structs.replace(unit, compile_ms=1 << 60),
        msgspec.structs.replace(unit, crate_name="x" * 10_000),
    ):
        assert service.tell(msgspec.structs.replace(record, units=(bad,))).status == 400
    assert service.ask("POST", "/v1/builds", b"{}", {"Content-Encoding": "gzip"}).status == 415
    assert service.ask("GET", "/v1/workspaces/..%2f..%2fetc").status in (400, 404)


def test_clocks_that_disagree_do_not_change_what_is_newest(service: PlannerService) -> None:
    """A machine a century ahead must not have the last word for a century."""
    tree = named("clocks")
    service.tell(tree.bump("app", "ahead").record(at_s=9_000_000_000))
    for number in range(3):
        service.tell(tree.record(at_s=number, id=digest("clocks", number)))
    units = {unit.crate_name: unit for unit in service.plan(tree.today, tree.changes).units}
    assert units["app"].key == tree.key("app")


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_its_pages_in_a_real_browser(service: PlannerService, tmp_path: Path) -> None:
    tree = Tree.of(Crate("<script>alert(1)</script>", compile_ms=61_000), name="page", label="<b>bold</b> & co")
    service.tell(tree.record(score=PlanScore(fetched_bytes=4, used_bytes=3, needed_bytes=6)))
    text = browsed(service.url + "/", tmp_path)
    assert "&lt;b&gt;bold&lt;/b&gt; &amp; co" in text and "plan precision" in text and "75%" in text
    text = browsed(f"{service.url}/workspaces/{tree.today.workspace.hex()}", tmp_path)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text and "61.0 s" in text and "Slowest units" in text


def browsed(url: str, home: Path) -> str:
    """The document after a browser has laid it out."""
    argv = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={home / 'chromium'}"]
    done = subprocess.run([*argv, "--dump-dom", url], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_database_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "planner.db").write_bytes(b"this is no database" * 1000)
    assert "cannot be used" in refused("--database", "sqlite:///planner.db", cwd=tmp_path)
    assert "is no database" in refused("--database", "mysql://host/db", cwd=tmp_path)
    newer = tmp_path / "newer.db"
    with PlannerService("--database", "sqlite:///newer.db", cwd=tmp_path):
        pass
    with sqlite3.connect(newer) as connection:
        connection.execute("UPDATE meta SET value = ?", (SCHEMA_VERSION + 1,))
    assert "a newer kache has migrated it" in refused("--database", "sqlite:///newer.db", cwd=tmp_path)


def test_a_locked_database_is_said_and_survived(tmp_path: Path) -> None:
    with PlannerService(cwd=tmp_path) as service:
        with sqlite3.connect(tmp_path / "planner.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = service.tell(TREE.record())
            assert answer.status == 503 and answer.headers["retry-after"] == "5"
            assert service.plan(TREE.today).units == (), "reading goes on"
            other.execute("ROLLBACK")
        assert service.tell(TREE.record()).json == {"new": True}


@pytest.mark.skipif(os.getuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_said_and_survived(tmp_path: Path) -> None:
    """Guards the service's life: what cannot be written is refused with its cause, and taken once there is room."""
    with small_tmpfs(tmp_path, 2 << 20) as room, PlannerService(cwd=room) as service:
        service.tell(named("before").record())
        with (room / "filler").open("wb", buffering=0) as filler, suppress(OSError):
            while filler.write(bytes(4096)):
                pass
        trees = [Tree.of(*(Crate(f"c{at}-{each}") for each in range(300)), name=f"full{at}") for at in range(4)]
        answers = [service.tell(tree.record()) for tree in trees]
        last = answers[-1]
        assert last.status == 503 and last.headers["retry-after"] == "600"
        assert "the disk of the database is full" in last.body.decode()
        assert len(service.plan(named("before").today).units) == 4, "reading goes on"
        (room / "filler").unlink()
        assert service.tell(trees[-1].record()).json == {"new": True}
        assert any("make room where it is" in line for line in service.lines)


def test_rows_that_are_damaged_are_left_out_of_plans(tmp_path: Path) -> None:
    with PlannerService(cwd=tmp_path) as service:
        service.tell(TREE.record())
        with sqlite3.connect(tmp_path / "planner.db") as other:
            other.execute("UPDATE builds SET body = x'00ff00ff'")
        assert service.plan(TREE.today).units == ()
        name = TREE.today.workspace.hex()
        assert service.ask("GET", f"/v1/workspaces/{name}").json["slowest"] == []


def test_what_was_learnt_survives_a_restart(tmp_path: Path) -> None:
    with PlannerService(cwd=tmp_path) as service:
        service.tell(TREE.record())
    with PlannerService(cwd=tmp_path) as service:
        assert len(service.plan(TREE.today, TREE.changes).units) == 4


def test_too_many_requests_are_told_when_to_come_again(tmp_path: Path) -> None:
    with PlannerService("--rate", "1", cwd=tmp_path) as service:
        answers = [service.ask("GET", "/v1/workspaces") for _ in range(6)]
        late = [answer for answer in answers if answer.status == 429]
        assert late and late[0].headers["retry-after"] == "1"
        assert service.ask("GET", "/healthz").status == 200


def test_it_listens_where_it_may_alone(tmp_path: Path) -> None:
    assert "everybody could read and write" in refused("--bind", "0.0.0.0:0", cwd=tmp_path)
    assert "is no address" in refused("--bind", "nowhere", cwd=tmp_path)
    assert "TLS needs a certificate and its key" in refused("--tls-cert", "x.pem", cwd=tmp_path)
    with PlannerService(cwd=tmp_path) as service:
        taken = refused("--bind", f"127.0.0.1:{service.port}", cwd=tmp_path)
    assert "cannot listen" in taken and "--bind" in taken


def test_without_the_extra_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['starlette'] = None; from kache.cli.main import main; main(['planner', 'serve'])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "error[planner-missing]" in done.stderr and "kache[planner]" in done.stderr


def test_questions_and_builds_survive_the_wire() -> None:
    record = TREE.record(score=PlanScore(planned=3, by_reason=(("exact", 1, 2),)), name="main")
    assert wire.decode_report(wire.encode_report(record)) == record
    from kache.planner.plan import PlanRequest

    request = PlanRequest(Intent(workspace=digest("w"), features=("+a",)), TREE.changes, "main")
    assert wire.decode_question(wire.encode_question(request, Budget(1, 2, 3.0))) == (request, Budget(1, 2, 3.0))


def refused(*words: str, cwd: Path) -> str:
    """What a service that does not start says."""
    bind = () if "--bind" in words else ("--bind", "127.0.0.1:0")
    done = subprocess.run(
        [KACHE, "planner", "serve", *bind, *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1 and "fix:" in done.stderr, done.stderr
    return done.stderr
