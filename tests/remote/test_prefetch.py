"""Prefetches: what a build will need is in the store before rustc is asked for it, and nothing else is fetched."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.remote.test_build_manifests import records
from tests.support.machines import Machines, pushed
from tests.support.projects import alone, chain, everything, manifest
from tests.support.registry import LocalRegistry
from tests.support.sandbox import KACHE, Sandbox


@pytest.fixture
def pair(machines: Machines) -> tuple[Sandbox, Sandbox]:
    return machines.pair()


def test_a_prefetch_brings_all_that_the_next_build_needs(in_s3: Machines) -> None:
    """Guards the main job: an empty machine, one command, then hits alone; counted as what they are, and scored."""
    writer, reader = in_s3.pair()
    built(writer, everything())
    second = reader.checkout("elsewhere/b", everything())
    answer = asked(reader, second.path)
    assert (answer["planned"], answer["brought"], answer["dropped"]) == (5, 5, 0), reader.log()
    found = second.build()
    found.expect(hits=5, misses=0)
    assert {call.outcome for call in found.calls.hits} == {"prefetch_hit"}
    second.same_bytes_as_plain()
    (record,) = records(reader)
    assert record.score is not None
    assert (record.score.precision, record.score.recall, record.score.late) == (1.0, 1.0, 0)
    assert reader.data("stats")["plans"] | {"plans": 1, "fetched": 5, "used": 5} == reader.data("stats")["plans"]
    assert "100% of it used, 100% of what was needed" in reader.kache("stats").stdout
    # Once used they are hits like all others.
    again = second.clean().build()
    assert {call.outcome for call in again.calls.hits} == {"local_hit"}
    assert asked(reader, second.path)["planned"] == 0


def test_a_build_that_begins_fetches_what_it_will_need(pair: tuple[Sandbox, Sandbox]) -> None:
    """Guards the prefetch nobody asks for: it starts with cargo's first question, and nothing waits for it."""
    writer, reader = pair
    built(writer, everything())
    reader.settings["KACHE_PREFETCH"] = "1"
    second = reader.checkout("b", everything())
    found = second.build()
    found.expect(hits=5, misses=0)
    assert {call.outcome for call in found.calls.hits} <= {"prefetch_hit", "remote_hit"}
    (record,) = records(reader)
    assert record.score is not None and record.score.planned


def test_what_cargo_finds_fresh_in_its_target_is_not_fetched(machines: Machines) -> None:
    """Guards targets that outlive a store: a registry crate that was built there is not asked for again."""
    writer, reader = machines.pair()
    registry = LocalRegistry(writer.root / "registry")
    package = manifest("dependency").replace("0.1.0", "1.0.0")
    registry.publish("dependency", {"Cargo.toml": package, "src/lib.rs": "pub fn number() -> u32 { 21 }\n"})
    registry.serve(writer.cargo_home)
    registry.serve(reader.cargo_home)
    files = alone(
        {
            "Cargo.toml": manifest("user") + '[dependencies.dependency]\nversion = "1"\n',
            "src/main.rs": 'fn main() { println!("{}", dependency::number()); }\n',
        }
    )
    built(writer, files)
    second = reader.checkout("b", files)
    second.write("Cargo.lock", (writer.root / "a" / "Cargo.lock").read_bytes())
    plan = asked(reader, second.path, "--dry-run")
    assert {unit["crate_name"]: unit["reason"] for unit in plan["units"]} == {"dependency": "exact", "user": "exact"}
    second.build().expect(hits=2)
    reader.kache("purge", "--yes")
    assert [unit["crate_name"] for unit in asked(reader, second.path, "--dry-run")["units"]] == ["user"]


def test_an_edit_leaves_what_it_changes_out_of_the_plan(pair: tuple[Sandbox, Sandbox]) -> None:
    """Guards the next commit: what the edit changes is not fetched, everything else is, and all of it is used."""
    writer, reader = pair
    built(writer, chain())
    files = chain()
    files["mid/src/lib.rs"] += "// edited\n"
    second = reader.checkout("b", files)
    plan = asked(reader, second.path, "--dry-run")
    assert [unit["crate_name"] for unit in plan["units"]] == ["leaf"]
    assert plan["units"][0]["reason"] == "exact" and plan["left_out"] == {"changed": 2}
    assert asked(reader, second.path)["brought"] == 1
    second.build().expect(hits="leaf", misses="mid app")
    (record,) = records(reader)
    assert record.score is not None and record.score.precision == 1.0


def test_a_check_does_not_bring_what_builds_need(pair: tuple[Sandbox, Sandbox]) -> None:
    """Guards plans by kind of command."""
    writer, reader = pair
    built(writer, chain())
    second = reader.checkout("b", chain())
    assert asked(reader, second.path, "--dry-run", "--", "check")["units"] == []
    assert asked(reader, second.path, "--dry-run", "--", "build", "--release")["units"] == []
    assert len(asked(reader, second.path, "--dry-run", "--", "build")["units"]) == 3


def test_what_no_longer_stands_in_the_remote_is_said_and_compiled(pair: tuple[Sandbox, Sandbox]) -> None:
    """Guards against a plan that is older than the remote's last clean-up."""
    writer, reader = pair
    built(writer, chain())
    for path in (Path(writer.settings["KACHE_REMOTE"].removeprefix("file://")) / "v1" / "entries").rglob("*"):
        if path.is_file():
            path.unlink()
    second = reader.checkout("b", chain())
    answer = asked(reader, second.path)
    assert (answer["planned"], answer["brought"], answer["absent"]) == (3, 0, 3)
    second.build().expect(misses=3)


def test_what_was_purged_is_brought_again(pair: tuple[Sandbox, Sandbox]) -> None:
    """Guards against a daemon that takes for present what another process has deleted."""
    writer, reader = pair
    built(writer, chain())
    second = reader.checkout("b", chain())
    second.build().expect(hits=3)
    assert reader.kache("purge", "--yes").returncode == 0
    answer = asked(reader, second.clean().path)
    assert (answer["planned"], answer["brought"]) == (3, 3) and answer["bytes"] > 0, reader.log()
    found = second.build()
    found.expect(hits=3, misses=0)
    assert {call.outcome for call in found.calls.hits} == {"prefetch_hit"}


def test_bytes_have_an_end_whatever_is_planned(pair: tuple[Sandbox, Sandbox]) -> None:
    """Guards the budget: it is kept by the sizes that are signed, not by what a plan says."""
    writer, reader = pair
    built(writer, everything())
    second = reader.checkout("b", everything())
    reader.settings["KACHE_PREFETCH_MAX_SIZE"] = "20KiB"
    answer = asked(reader, second.path)
    assert 0 < answer["bytes"] <= 20 << 10 and answer["brought"] < 5


def test_a_remote_that_is_gone_stops_nobody(pair: tuple[Sandbox, Sandbox], tmp_path: Path) -> None:
    """Guards builds without a network: what is known here is planned, nothing comes, everything is compiled."""
    writer, reader = pair
    built(writer, chain())
    reader.settings |= {"KACHE_REMOTE": f"file://{tmp_path}/nowhere", "KACHE_PREFETCH": "1"}
    second = reader.checkout("b", chain())
    second.build().expect(misses=3)


@pytest.mark.parametrize(
    ("words", "settings", "says"),
    [
        ((), {"KACHE_REMOTE": ""}, "there is no remote to fetch from"),
        ((), {"KACHE_DAEMON": "0"}, "prefetches are the daemon's"),
        (("--", "fmt"), {}, "builds nothing that kache understands"),
    ],
    ids=["no-remote", "no-daemon", "no-build"],
)
def test_what_stands_in_the_way_is_said_and_quiet_is_quiet(
    machines: Machines, words: tuple[str, ...], settings: dict[str, str], says: str
) -> None:
    box = machines.writer()
    box.settings |= settings
    project = box.checkout("a", chain())
    done = prefetch(box, project.path, *words)
    assert done.returncode and says in done.stderr and "fix:" in done.stderr
    quiet = prefetch(box, project.path, "--quiet", *words)
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_outside_of_a_workspace_there_is_nothing_to_fetch(machines: Machines) -> None:
    box = machines.writer()
    done = prefetch(box, box.root)
    assert done.returncode == 2 and "this is no cargo workspace" in done.stderr


def built(writer: Sandbox, files: dict[str, str]) -> None:
    """Build on a machine, until everything is in the remote."""
    project = writer.checkout("a", files)
    project.build()
    pushed(writer)
    done = subprocess.run(
        [KACHE, "save-manifest"], cwd=project.path, env=writer.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def prefetch(box: Sandbox, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a directory."""
    return subprocess.run(
        [KACHE, "prefetch", *words],
        cwd=directory,
        env=box.env(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def asked(box: Sandbox, directory: Path, *words: str) -> dict[str, Any]:
    """What it says."""
    done = prefetch(box, directory, "--json", *words)
    assert done.returncode == 0, done.stdout + done.stderr + box.log()
    found: dict[str, Any] = json.loads(done.stdout)["data"]
    return found
