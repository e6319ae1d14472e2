"""What builds use is recorded, and kept in the remote as signed build manifests."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
from pathlib import Path

from kache.cargo import source_groups
from kache.config.load import load
from kache.core.usage import BuildRecord
from kache.engine.transfer import manifests
from kache.engine.transfer.remotes import open_one
from kache.store import build_records
from tests.remote.test_warm_start_remote import outcomes, with_registry
from tests.support import processes
from tests.support.machines import Machines
from tests.support.projects import chain, everything
from tests.support.sandbox import KACHE, Sandbox


def test_a_build_leaves_a_record_of_its_units_in_order_of_need(machines: Machines) -> None:
    """Guards learning: which units, in which order, what waited on what, and for what kind of build."""
    box = machines.writer()
    project = box.checkout("a", everything())
    project.build()
    (record,) = records(box)
    assert record.is_whole and record.intent.command == "build" and record.intent.profile == "dev"
    assert record.intent.lockfile and record.intent.toolchain and record.intent.workspace
    by_name = {unit.crate_name: at for at, unit in enumerate(record.units) if unit.unit_kind != "build-script"}
    assert set(by_name) == {"macros", "generated", "both", "app"}
    assert {unit.outcome for unit in record.units} == {"miss"}
    app = record.units[by_name["app"]]
    assert app.waits and all(at < by_name["app"] for at in app.waits)
    (script,) = (at for at, unit in enumerate(record.units) if unit.unit_kind == "build-script")
    assert record.units[script].crate_name == "generated" and script in record.units[by_name["generated"]].waits
    assert [unit.need_ms for unit in record.units] == sorted(unit.need_ms for unit in record.units)
    assert all(unit.size_bytes and unit.source and unit.origin for unit in record.units)
    # The same again is the same record; another kind of build is another.
    project.clean().build()
    assert [each.id for each in records(box)] == [record.id]
    project.clean().cargo("check")
    assert {each.intent.command for each in records(box)} == {"build", "check"}


def test_units_that_warm_start_placed_are_in_the_record(machines: Machines) -> None:
    """Guards plans: cargo asks nothing of a unit it finds fresh, and the next empty machine needs it all the same."""
    box = machines.writer(KACHE_WARM_START="1")
    files = with_registry(box)
    first = box.checkout("a", files)
    first.build()
    (called,) = records(box)
    second = box.checkout("elsewhere/b", files)
    second.write("Cargo.lock", (first.path / "Cargo.lock").read_bytes())
    assert outcomes(second.build()) == {"seeded"}
    (placed,) = records(box)
    assert placed.id == called.id and placed.is_whole and placed.took_ms == 0
    assert {unit.outcome for unit in placed.units} == {"seeded"}
    assert by_crate(placed) == by_crate(called)


def by_crate(record: BuildRecord) -> dict[tuple[str, str], object]:
    """What a record says of each unit, but for when and how it came."""
    units = record.units
    return {
        (unit.crate_name, unit.package): (
            unit.key,
            unit.origin,
            unit.source,
            unit.unit_hash,
            {units[at].crate_name for at in unit.waits},
        )
        for unit in units
    }


def test_an_edited_source_changes_its_units_and_no_others(machines: Machines) -> None:
    """Guards what plans go by: which units can still be what they were."""
    box = machines.writer()
    project = box.checkout("a", chain())
    project.build()
    project.edit("mid/src/lib.rs", "leaf::", "leaf:: ")
    project.clean().build()
    new, old = records(box)
    before, after = ({unit.crate_name: unit for unit in each.units} for each in (old, new))
    assert {name for name in after if after[name].source != before[name].source} == {"mid"}
    assert {name for name in after if after[name].key != before[name].key} == {"mid", "app"}


def test_an_edited_program_leaves_the_library_beside_it_what_it_was(tmp_path: Path) -> None:
    """Guards the most frequent edit of small projects: one package with src/lib.rs and src/main.rs."""
    for name in ("Cargo.toml", "src/lib.rs", "src/main.rs", "src/bin/tool.rs", "src/part.rs"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    library, program = (source_groups.group_id(b"", name) for name in (b"src/lib.rs", b"src/main.rs"))

    def changed(name: str) -> set[bytes]:
        before = source_groups.digests(bytes(tmp_path), b"")
        (tmp_path / name).write_text("// one line more")
        after = source_groups.digests(bytes(tmp_path), b"")
        return {group for group in after if after[group] != before[group]}

    assert changed("src/main.rs") == changed("src/bin/tool.rs") == {program}
    assert changed("src/part.rs") == changed("src/lib.rs") == {library, program}


def test_features_and_branch_are_part_of_the_intent(machines: Machines) -> None:
    """Guards that builds which want other units are told apart, and that a job's name is known."""
    box = machines.writer()
    project = box.checkout("a", chain())
    (project.path / ".git").mkdir()
    (project.path / ".git" / "HEAD").write_text("ref: refs/heads/work/one\n")
    project.cargo("build", "-p", "leaf", "--no-default-features", env={"GITHUB_JOB": "linux"})
    (record,) = records(box)
    assert record.intent.features == ("-*", "@leaf")
    assert (record.intent.branch, record.intent.job) == ("work/one", "linux")


def test_whole_builds_go_to_the_remote_and_are_believed_by_those_who_trust_the_writer(in_s3: Machines) -> None:
    """Guards build manifests: signed, found by workspace, newest first, and nobody else's."""
    writer, reader = in_s3.pair()
    project = writer.checkout("a", chain())
    project.build()
    (record,) = records(writer)
    processes.until(lambda: fetched(writer, record) == [record], limit_s=60, what="the manifest is sent")
    assert fetched(reader, record) == [record]
    stranger = in_s3.reader()
    assert fetched(stranger, record) == []
    # Nothing that says where it was built.
    assert str(writer.root).encode() not in build_records._encoder.encode(record)


def test_save_manifest_sends_now_and_names(machines: Machines) -> None:
    """Guards the last step of a CI job."""
    box = machines.writer()
    project = box.checkout("a", chain())
    project.build()
    done = box_in(box, project.path, "save-manifest", "--manifest-key", "main-linux", "--json")
    assert '"units": 3' in done
    (record,) = records(box)
    names = {each.name for each in fetched(box, record)}
    assert "main-linux" in names
    assert box_in(box, project.path, "save-manifest", "--namespace", "other").startswith("sent what 1 build used")
    assert fetched(box, record, namespace="other") == [record]


def test_save_manifest_says_what_is_missing(machines: Machines) -> None:
    """Guards its errors: no workspace, no build, nothing to sign with."""
    box = machines.writer()
    assert "this is no cargo workspace" in box_in(box, box.root, "save-manifest")
    project = box.checkout("a", chain())
    assert "no build of this workspace was recorded" in box_in(box, project.path, "save-manifest")
    other = machines.reader(box)
    assert "nothing may be sent from here" in box_in(other, project.path, "save-manifest")


def test_a_damaged_record_is_left_out(machines: Machines) -> None:
    """Guards against rows of a broken disk."""
    box = machines.writer()
    project = box.checkout("a", chain())
    project.build()
    assert len(records(box)) == 1
    box.stop()
    with sqlite3.connect(box.index) as connection:
        connection.execute("UPDATE build_records SET body = substr(body, 1, 20)")
    assert records(box) == []
    project.clean().build().expect(hits=3)


def records(box: Sandbox) -> list[BuildRecord]:
    """Of a box, the newest first."""
    box.settle()
    with sqlite3.connect(box.index) as connection:
        return build_records.decode(connection.execute("SELECT body FROM build_records ORDER BY at_ns DESC").fetchall())


def fetched(box: Sandbox, like: BuildRecord, namespace: str = "") -> list[BuildRecord]:
    """What a machine finds in the remote for the workspace of a record."""
    env = box.env()
    remote = open_one(load(env, None), env)
    return asyncio.run(manifests.newest(remote, like.intent.workspace, namespace))


def box_in(box: Sandbox, directory: Path, *words: str) -> str:
    """What a command says, run in a directory."""
    done = subprocess.run(
        [KACHE, *words], cwd=directory, env=box.env(), capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout + done.stderr
