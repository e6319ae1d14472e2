"""Two machines that share only a bucket: other homes, other paths, other checkouts; nothing is compiled twice."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.support.machines import Machines, public_key, pushed, waiting
from tests.support.projects import alone, chain, everything, lib, manifest
from tests.support.registry import LocalRegistry
from tests.support.sandbox import Sandbox


@pytest.fixture(params=["directory", "s3"])
def shared(request: pytest.FixtureRequest) -> Machines:
    found: Machines = request.getfixturevalue({"directory": "machines", "s3": "in_s3"}[request.param])
    return found


def test_a_second_machine_compiles_nothing_and_has_the_same_bytes(everywhere: Machines) -> None:
    """Guards the main job: what CI compiled, nobody compiles again, and every byte is rustc's own."""
    writer, reader = everywhere.pair()
    cold = writer.checkout("a", everything())
    cold.build().expect(misses="macros generated generated both app", hits=0)
    pushed(writer)
    second = reader.checkout("elsewhere/in/a/longer/place", everything())
    built = second.build()
    built.expect(hits="macros generated generated both app", misses=0)
    assert {call.outcome for call in built.calls.hits} == {"remote_hit"}
    cold.outputs().named(".rlib", ".rmeta").same_as(second.outputs().named(".rlib", ".rmeta"))
    second.fresh()
    second.same_bytes_as_plain()
    assert second.program("app") == "13\n"
    # Once here, it is a local hit, in any target.
    again = second.clean().build()
    again.expect(hits=5, misses=0)
    assert {call.outcome for call in again.calls.hits} == {"local_hit"}
    remote = reader.data("stats")["remote"]
    assert remote["gets"]["hit"] == 5 and remote["received_bytes"] > 0 and remote["sent_bytes"] == 0
    assert writer.data("stats")["remote"]["puts"]["stored"] == 5


def test_another_cargo_home_hits_registry_crates(machines: Machines) -> None:
    """Guards sharing between users whose registries lie elsewhere."""
    writer, reader = machines.pair()
    files = alone(
        {
            "Cargo.toml": manifest("user") + '[dependencies.dependency]\nversion = "1"\n',
            "src/main.rs": 'fn main() { println!("{}", dependency::number()); }\n',
        }
    )
    # One registry: where it is, is in cargo's hash of each of its crates, as a registry's URL is.
    registry = LocalRegistry(writer.root / "registry")
    package = manifest("dependency").replace("0.1.0", "1.0.0")
    registry.publish("dependency", {"Cargo.toml": package, "src/lib.rs": "pub fn number() -> u32 { 21 }\n"})
    registry.serve(writer.cargo_home)
    registry.serve(reader.cargo_home)
    writer.checkout("a", files).build().expect(misses=2)
    pushed(writer)
    second = reader.checkout("b/c", files)
    second.build().expect(hits="dependency user", misses=0)
    assert second.run() == "21\n"


def test_units_that_hold_a_path_are_compiled_on_the_second_machine(machines: Machines) -> None:
    """Guards against another machine's paths: they stand in the program by value."""
    writer, reader = machines.pair()
    tied = 'pub fn place() -> &\'static str { env!("CARGO_MANIFEST_DIR") }\n'
    writer.checkout("a", lib(tied)).build().expect(misses=1)
    pushed(writer)
    reader.checkout("b", lib(tied)).build().expect(misses="thing", hits=0)


def test_an_edit_is_found_by_the_memo_of_the_version_before(machines: Machines) -> None:
    """Guards path sets: one memo leads to every version of the sources that keeps its files."""
    writer, reader = machines.pair()
    checkout = writer.checkout("a", chain())
    checkout.build()
    checkout.edit("leaf/src/lib.rs", "21", "22")
    checkout.build().expect(misses="leaf mid app")
    pushed(writer)
    files = chain()
    files["leaf/src/lib.rs"] = files["leaf/src/lib.rs"].replace("21", "22")
    second = reader.checkout("b", files)
    second.build().expect(hits="leaf mid app", misses=0)
    assert second.run("-p", "app") == "44\n"
    files["leaf/src/lib.rs"] = files["leaf/src/lib.rs"].replace("22", "23")
    third = reader.checkout("c", files)
    third.build().expect(misses="leaf mid app", hits=0)
    assert third.run("-p", "app") == "46\n"


def test_messages_come_with_the_readers_paths(machines: Machines) -> None:
    """Guards warnings: those of another machine are shown, with the places of this one."""
    writer, reader = machines.pair()
    files = lib("pub fn f() {\n    let unused = 3;\n}\n")
    writer.checkout("a", files).build()
    pushed(writer)
    second = reader.checkout("b/c", files)
    warm = second.build()
    warm.expect(hits=1, misses=0)
    assert warm.messages == second.plain("build").messages


def test_values_of_variables_stay_here_and_still_decide(machines: Machines, tmp_path: object) -> None:
    """Guards secrets: a macro's token is in no object, and another value is another compile."""
    writer, reader = machines.pair()
    for box in (writer, reader):
        box.settings["KACHE_TRUST_DOMAIN"] = "the team"
    source = 'pub fn has() -> bool { option_env!("SOME_TOKEN").is_some() }\n'
    writer.checkout("a", lib(source)).build(env={"SOME_TOKEN": "s3cr3t-value"}).expect(misses=1)
    pushed(writer)
    reader.checkout("b", lib(source)).build(env={"SOME_TOKEN": "s3cr3t-value"}).expect(hits=1)
    reader.checkout("c", lib(source)).build(env={"SOME_TOKEN": "another"}).expect(misses=1, hits=0)
    other = machines.reader(writer, KACHE_TRUST_DOMAIN="strangers")
    other.checkout("d", lib(source)).build(env={"SOME_TOKEN": "s3cr3t-value"}).expect(misses=1, hits=0)


def test_two_writers_of_one_key_agree_and_the_second_changes_nothing(shared: Machines) -> None:
    """Guards write-once: whoever comes second finds the same and leaves it."""
    first, second = shared.writer(), shared.writer()
    first.data("keys", "trust", public_key(second))
    second.data("keys", "trust", public_key(first))
    first.checkout("a", chain()).build().expect(misses=3)
    second.settings["KACHE_LOCAL_ONLY"] = "1"
    second.checkout("b", chain()).build().expect(misses=3)
    del second.settings["KACHE_LOCAL_ONLY"]
    pushed(first)
    done = second.data("sync", "--push")["push"]
    assert (done["failed"], done["differing"], done["skipped"]) == (0, 0, 3)
    assert second.data("remote", "verify", "--packs")["done"] == 3


def test_a_pull_request_reads_and_sends_nothing(machines: Machines) -> None:
    """Guards main's cache: a proposal may be anybody's."""
    writer = machines.writer()
    writer.checkout("a", chain()).build()
    pushed(writer)
    proposal = machines.writer(GITHUB_EVENT_NAME="pull_request")
    proposal.data("keys", "trust", public_key(writer))
    files = chain()
    files["app/src/main.rs"] += "// changed\n"
    proposal.checkout("b", files).build().expect(hits="leaf mid", misses="app")
    assert waiting(proposal) == 0
    status = proposal.data("remote", "status")
    assert status["signs_as"] is None and "pull request" in status["why_not_write"]


def test_what_waits_survives_a_killed_daemon(machines: Machines) -> None:
    """Guards the queue: a kill -9 between the compile and its upload loses nothing."""
    writer = machines.writer()
    directory = Path(machines.remote.removeprefix("file://"))
    aside = directory.with_name("aside")
    directory.rename(aside)  # the share is not mounted
    writer.checkout("a", chain()).build().expect(misses=3)
    os.kill(writer.daemon(), signal.SIGKILL)
    assert waiting(writer) == 3
    aside.rename(directory)
    writer.kache("daemon", "start")
    pushed(writer)
    assert writer.data("remote", "verify", "--packs")["done"] == 3


def test_without_a_daemon_what_was_compiled_is_queued(machines: Machines) -> None:
    """Guards in-process engines: they ask no remote, and leave what they made to the next daemon or sync."""
    writer = machines.make("in-process")
    writer.data("keys", "generate")
    writer.checkout("a", chain()).build().expect(misses=3)
    assert waiting(writer) == 3
    done = writer.data("sync", "--push")["push"]
    assert (done["done"], done["failed"]) == (3, 0)


def test_sync_brings_everything_and_goes_on_where_it_was(shared: Machines) -> None:
    """Guards kache sync: bring all, bring the rest, send the rest, with numbers that are right."""
    writer, reader = shared.pair()
    writer.checkout("a", everything()).build()
    pushed(writer)
    assert reader.data("sync", "--pull", "--dry-run")["pull"]["done"] == 5
    pulled = reader.data("sync", "--pull")["pull"]
    assert (pulled["done"], pulled["failed"], pulled["refused"]) == (5, 0, 0)
    assert reader.data("sync", "--pull")["pull"]["skipped"] == 5
    reader.settings["KACHE_LOCAL_ONLY"] = "1"
    second = reader.checkout("b", everything())
    second.build().expect(hits=5, misses=0)
    second.same_bytes_as_plain()


def test_gc_removes_old_entries_with_their_packs(shared: Machines) -> None:
    """Guards the bucket's size: what is gone is gone whole, and readers just miss."""
    writer, reader = shared.pair()
    writer.checkout("a", chain()).build()
    pushed(writer)
    planned = writer.data("remote", "gc", "--max-age", "0s", "--dry-run")
    assert (planned["entries"], planned["packs"]) == (3, 1)
    assert writer.data("remote", "verify")["done"] == 3
    writer.data("remote", "gc", "--max-age", "0s")
    assert writer.data("remote", "verify")["seen"] == 0
    reader.checkout("b", chain()).build().expect(misses=3, hits=0)


def test_doctor_reads_and_writes(shared: Machines) -> None:
    """Guards the set-up: doctor proves what the configuration promises, and says whose keys are in use."""
    writer, reader = shared.pair()
    told = _told(writer)
    assert "can be read, as " in told and "it can be written; what is sent is signed by" in told
    assert ("access key kacheadmin (AWS_ACCESS_KEY_ID)" if "s3://" in told else "as the user ") in told
    told = _told(reader)
    assert "can be read" in told and "nothing is sent: there is no signing key" in told and "writer-0" in told
    reader.settings["KACHE_REMOTE"] = "file:///nowhere/at/all"
    assert "there is no directory" in _told(reader, exit_code=1)


def _told(box: Sandbox, exit_code: int = 0) -> str:
    checks = box.data("doctor", exit_code=exit_code)["checks"]
    return "\n".join(f"{item['what']} {item['why']}" for item in checks if item["check"] == "remote")
