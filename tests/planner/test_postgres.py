"""The planner service on a real PostgreSQL: several replicas share what one of them was told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.errors import PlannerDatabaseError
from kache.planner import wire
from kache.planner.closure import Changes
from kache.planner.plan import Budget, PlanRequest
from kache.planner.service.brain import BODIES_KEPT, Brain
from kache.planner.service.database import Database
from tests.planner.test_service import named, refused
from tests.support.histories import digest
from tests.support.planner import PlannerService
from tests.support.servers.postgres import postgres


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Of each kind, open."""
    url = request.getfixturevalue("server") if request.param == "postgres" else f"sqlite:///{tmp_path}/planner.db"
    made = Database(url)
    yield made
    made.close()


def test_replicas_share_what_they_learn(server: str, tmp_path: Path) -> None:
    tree = named("replicas")
    words = ("--database", server)
    with PlannerService(*words, cwd=tmp_path) as one, PlannerService(*words, cwd=tmp_path) as two:
        assert one.tell(tree.record()).json == {"new": True}
        assert two.tell(tree.record()).json == {"new": False}
        assert len(two.plan(tree.today, tree.changes).units) == 4
        after = tree.bump("serde", "2")
        two.tell(after.record())
        assert {unit.key for unit in one.plan(after.today, after.changes).units} == {
            after.key(name) for name in tree.crates
        }
        name = tree.today.workspace.hex()
        assert one.ask("GET", f"/v1/workspaces/{name}").json["summary"]["builds"] == 2
        assert one.ask("GET", "/readyz").status == 200 and b"database_bytes" in one.ask("GET", "/metrics").body


def test_a_server_that_is_gone_is_said(tmp_path: Path) -> None:
    told = refused("--database", "postgresql://me:secret@127.0.0.1:1/x", cwd=tmp_path)
    assert "cannot be used" in told and "secret" not in told


def test_a_server_that_comes_back_is_used_again(tmp_path: Path) -> None:
    with postgres() as url, PlannerService("--database", url, cwd=tmp_path) as service:
        tree = named("back")
        assert service.tell(tree.record()).status == 200
        database = Database(url)
        with database.transaction() as made:  # every connection but this one is cut
            made.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
                " AND backend_type = 'client backend'"
            )
        database.close()
        statuses = [service.ask("GET", "/v1/workspaces").status for _ in range(8)]
        assert statuses[-1] == 200 and set(statuses) <= {200, 503}


def test_units_of_old_builds_are_forgotten_and_their_counts_kept(database: Database) -> None:
    brain, tree = Brain(database), named("many")
    for number in range(BODIES_KEPT + 5):
        brain.learn(wire.encode_report(tree.record(id=digest("many", number))))
    bodies = "SELECT count(*), count(body) FROM builds WHERE workspace = ?"
    assert database.rows(bodies, (tree.today.workspace,)) == [(BODIES_KEPT + 5, BODIES_KEPT)]
    with database.transaction() as made:
        made.execute("UPDATE builds SET received_s = 5 WHERE workspace = ?", (tree.today.workspace,))
    assert brain.retain(30) == BODIES_KEPT + 5
    assert database.rows(bodies, (tree.today.workspace,)) == [(0, 0)]


def test_a_transaction_is_all_or_nothing(database: Database) -> None:
    with pytest.raises(PlannerDatabaseError), database.transaction() as made:
        made.execute("INSERT INTO meta(name, value) VALUES ('half', 1)")
        made.execute("INSERT INTO meta(name, value) VALUES ('half', 1)")
    assert database.rows("SELECT count(*) FROM meta WHERE name = 'half'") == [(0,)]


def test_names_with_zero_bytes_and_percent_signs_are_kept(database: Database) -> None:
    brain, tree = Brain(database), named("odd%s \0?")
    brain.learn(wire.encode_report(tree.record()))
    question = wire.encode_question(PlanRequest(tree.today, Changes()), Budget())
    planned = {unit.key for unit in wire.decode_answer(brain.answer(question)).units}
    assert planned >= {tree.key(name) for name in tree.crates}
