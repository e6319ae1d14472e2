"""Warm start from a remote: a new machine's target is filled before cargo asks."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec
import pytest

from kache.remote import compression
from kache.remote.trust import MAGIC
from tests.support import processes
from tests.support.checkout import Built, Checkout
from tests.support.machines import Machines, sets_sent, sets_waiting
from tests.support.projects import Files, alone, chain, everything, manifest
from tests.support.registry import LocalRegistry
from tests.support.sandbox import Sandbox

_SCRIPT = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=SCRIPTED_LEVEL");
    println!("{}", std::env::var("SCRIPTED_SECRET").unwrap_or_default());
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/n.rs"), "pub fn number() -> u32 { 5 }\\n").unwrap();
    std::fs::write(format!("{out}/large.bin"), vec![7u8; 40_000]).unwrap();
}
"""


def warm(box: Sandbox) -> Sandbox:
    box.settings["KACHE_WARM_START"] = "1"
    return box


def pair(machines: Machines, *, one_home: bool = True) -> tuple[Sandbox, Sandbox]:
    """A writer and a reader with warm start; with one CARGO_HOME, as two machines of one image have."""
    writer, reader = machines.pair()
    if one_home:
        reader.cargo_home = writer.cargo_home
    return warm(writer), warm(reader)


def with_registry(writer: Sandbox) -> Files:
    """A program that uses two crates of a registry, one of which has a build script."""
    registry = LocalRegistry(writer.root / "registry")
    for name, script in (("plain", ""), ("scripted", _SCRIPT)):
        files = {"Cargo.toml": manifest(name).replace("0.1.0", "1.0.0"), "src/lib.rs": "pub fn number() -> u32 { 5 }\n"}
        if script:
            files |= {"build.rs": script, "src/lib.rs": 'include!(concat!(env!("OUT_DIR"), "/n.rs"));\n'}
        registry.publish(name, files)
    registry.serve(writer.cargo_home)
    return alone(
        {
            "Cargo.toml": manifest("user") + 'plain = "1"\nscripted = "1"\n',
            "src/main.rs": 'fn main() { println!("{}", plain::number() + scripted::number()); }\n',
        }
    )


def outcomes(built: Built) -> set[str]:
    return {call.outcome for call in built.calls.all if call.crate}


@pytest.fixture(params=["directory", "s3"])
def shared(request: pytest.FixtureRequest) -> Machines:
    found: Machines = request.getfixturevalue({"directory": "machines", "s3": "in_s3"}[request.param])
    return found


def test_a_new_machine_is_served_before_cargo_asks(shared: Machines) -> None:
    """Guards the promise: nothing compiled, no wrapper called for a unit, every byte rustc's own."""
    writer, reader = pair(shared)
    files = with_registry(writer)
    first = writer.checkout("a", files)
    first.build()
    sets_sent(writer)
    second = reader.checkout("elsewhere/b", files)
    (second.path / "Cargo.lock").write_bytes((first.path / "Cargo.lock").read_bytes())
    built = second.build()
    assert outcomes(built) == {"seeded"}, f"{built.calls}\n{reader.log()}"
    first.outputs().named(".rlib", ".rmeta").same_as(second.outputs().named(".rlib", ".rmeta"))
    second.fresh()
    second.same_bytes_as_plain()
    assert second.program("user") == "10\n"


def test_a_workspace_with_macros_and_scripts_is_served_with_few_requests(shared: Machines) -> None:
    """Guards what stands above build scripts of the checkout: it comes by hits, of what was brought before."""
    writer, reader = pair(shared)
    writer.checkout("a", everything()).build()
    sets_sent(writer)
    second = reader.checkout("b", everything())
    built = second.build()
    assert not built.calls.misses and not [call for call in built.calls.hits if call.outcome == "remote_hit"]
    assert outcomes(built) <= {"seeded", "unseeded", "prefetch_hit", "local_hit"}, str(built.calls)
    second.fresh()
    second.same_bytes_as_plain()


def test_what_changed_is_compiled_and_nothing_else(machines: Machines) -> None:
    """Guards the inputs: each is compared with this checkout before a unit is placed."""
    writer, reader = pair(machines)
    writer.checkout("a", chain()).build()
    sets_sent(writer)
    second = reader.checkout("b", chain())
    second.edit("mid/src/lib.rs", "2 *", "3 *")
    built = second.build()
    assert {call.crate for call in built.calls.all if call.outcome == "seeded"} == {"leaf"}
    assert {call.crate for call in built.calls.misses} == {"mid", "app"}
    assert second.program("app") == "63\n"
    second.fresh()
    second.same_bytes_as_plain()


def test_another_cargo_home_has_the_entries_in_bulk(machines: Machines) -> None:
    """Guards users whose registries lie elsewhere: hits on what was brought at once, not one by one."""
    writer, reader = pair(machines, one_home=False)
    files = with_registry(writer)
    first = writer.checkout("a", files)
    first.build()
    sets_sent(writer)
    reader.cargo_home.joinpath("config.toml").write_text(writer.cargo_home.joinpath("config.toml").read_text())
    second = reader.checkout("b", files)
    (second.path / "Cargo.lock").write_bytes((first.path / "Cargo.lock").read_bytes())
    built = second.build()
    assert not built.calls.misses, f"{built.calls}\n{reader.log()}"
    assert "prefetch_hit" in outcomes(built) or "remote_hit" in outcomes(built)
    assert second.program("user") == "10\n"
    second.same_bytes_as_plain()


def test_the_nearest_earlier_lock_file_serves_what_it_shares(machines: Machines) -> None:
    """Guards updates of dependencies: all but what changed comes from the set before."""
    writer, reader = pair(machines)
    files = with_registry(writer)
    first = writer.checkout("a", files)
    first.build()
    sets_sent(writer)
    second = reader.checkout("b", files | {"Cargo.toml": files["Cargo.toml"].replace('scripted = "1"\n', "")})
    second.write("src/main.rs", 'fn main() { println!("{}", plain::number()); }\n')
    second.cargo("generate-lockfile")
    built = second.build()
    assert {call.crate for call in built.calls.all if call.outcome == "seeded"} == {"plain"}, str(built.calls)
    assert second.program("user") == "5\n"


def test_no_value_and_no_path_leaves(machines: Machines) -> None:
    """Guards secrets: what a script printed, read or was asked about is in no object, nor where anything lies."""
    writer, _ = pair(machines)
    files = with_registry(writer)
    first: Checkout = writer.checkout("a", files)
    first.build(env={"SCRIPTED_SECRET": "s3cr3t-value"})
    sets_sent(writer)
    root = Path(machines.remote.removeprefix("file://"), "v1/units")
    documents = [path.read_bytes() for path in root.rglob("*") if path.is_file()]
    assert documents
    for document in documents:
        body = compression.decompress(msgspec.msgpack.decode(document[len(MAGIC) :])[2], 1 << 26)
        assert b"s3cr3t" not in body
        assert bytes(writer.root) not in body
        assert bytes(writer.home) not in body


def test_gc_leaves_what_sets_need_and_takes_old_sets(machines: Machines) -> None:
    """Guards the bucket: what a script's run left is asked for by no compile, and by unit sets alone."""
    writer, reader = pair(machines)
    files = with_registry(writer)
    first = writer.checkout("a", files)
    first.build()
    sets_sent(writer)
    root = Path(machines.remote.removeprefix("file://"))
    for path in root.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - 2 * 24 * 3600,) * 2)
    assert writer.data("remote", "verify", "--packs")["refused"] == 0
    assert writer.data("remote", "gc", "--unreachable")["entries"] == 0
    second = reader.checkout("b", files)
    (second.path / "Cargo.lock").write_bytes((first.path / "Cargo.lock").read_bytes())
    assert outcomes(second.build()) == {"seeded"}
    assert writer.data("remote", "gc", "--max-age", "1d", "--dry-run")["unit_sets"] == 1


def test_sync_sends_sets_as_well(machines: Machines) -> None:
    """Guards CI jobs that end at once: what waits is sent by sync, without a daemon."""
    writer, reader = pair(machines)
    directory = Path(machines.remote.removeprefix("file://"))
    aside = directory.with_name("aside")
    directory.rename(aside)  # the share is not mounted
    writer.checkout("a", chain()).build()
    processes.until(lambda: sets_waiting(writer) == 1, limit_s=60, what="the set waits for its upload")
    writer.stop()
    assert sets_waiting(writer) == 1
    aside.rename(directory)
    assert writer.data("sync", "--push")["push"]["unit_sets"] == 1
    assert sets_waiting(writer) == 0
    assert outcomes(reader.checkout("b", chain()).build()) == {"seeded"}
