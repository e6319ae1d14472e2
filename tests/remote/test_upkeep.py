"""The bucket's upkeep: what gc takes away and what it leaves, and syncs that end early, badly or not at all."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.machines import Machines, public_key, pushed
from tests.support.projects import Files, below, chain, everything, manifest, workspace
from tests.support.sandbox import KACHE, Sandbox
from tests.support.servers.proxy import FaultyProxy, Rule

DAY_S = 24 * 3600


def edited() -> Files:
    files = chain()
    files["app/src/main.rs"] += "// changed\n"
    return files


def aged(machines: Machines, days: float, part: str = "v1") -> None:
    """Make everything in a shared directory older."""
    for path in Path(machines.remote.removeprefix("file://"), part).rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() - days * DAY_S, path.stat().st_mtime - days * DAY_S))


@pytest.fixture
def used(machines: Machines) -> tuple[Machines, Sandbox]:
    """Three entries, two days old, and nothing that says who uses them."""
    writer = machines.writer()
    writer.checkout("a", chain()).build().expect(misses=3)
    pushed(writer)
    root = Path(machines.remote.removeprefix("file://"))
    shutil.rmtree(root / "v1" / "builds", ignore_errors=True)
    aged(machines, 2)
    return machines, writer


def test_gc_leaves_what_builds_used(used: tuple[Machines, Sandbox]) -> None:
    """Guards reachability: what no build manifest names goes, what one names stays, however old it is."""
    machines, writer = used
    refused = writer.kache("remote", "gc", "--unreachable")
    assert refused.returncode == 1 and "nothing says which entries are used" in refused.stderr
    writer.checkout("b", edited()).build().expect(misses="app")
    pushed(writer)
    root = Path(machines.remote.removeprefix("file://"))
    processes.until(lambda: any((root / "v1" / "builds").rglob("*-*")), limit_s=60, what="what was used is known")
    planned = writer.data("remote", "gc", "--unreachable", "--dry-run")
    assert (planned["entries"], planned["reachable"], planned["kept_entries"]) == (1, 3, 3)
    assert writer.data("remote", "verify")["seen"] == 4
    done = writer.data("remote", "gc", "--unreachable")
    assert (done["entries"], done["kept_entries"]) == (1, 3)
    assert writer.data("remote", "verify", "--packs")["done"] == 3
    # By age and size the last use counts: all that is left was used today.
    assert writer.data("remote", "gc", "--max-age", "1d", "--dry-run")["entries"] == 0
    reader = machines.reader(writer)
    reader.checkout("c", edited()).build().expect(hits=3, misses=0)
    assert writer.data("remote", "gc", "--max-size", "1")["kept_entries"] == 0


def test_gc_takes_namespaces_of_old_pull_requests_whole(machines: Machines) -> None:
    writer = machines.writer(KACHE_REMOTE_PULL_REQUESTS="own", KACHE_PULL_REQUEST="7")
    writer.checkout("a", chain()).build().expect(misses=3)
    pushed(writer)
    writer.stop()
    del writer.settings["KACHE_PULL_REQUEST"]
    pull = Path(machines.remote.removeprefix("file://"), "pull")
    assert any(pull.rglob("*.zst"))
    assert writer.data("remote", "gc", "--max-age", "1d")["pull_requests"] == 0
    aged(machines, 2, "pull")
    assert writer.data("remote", "gc", "--max-age", "1d")["pull_requests"] == 1
    assert not [path for path in pull.rglob("*") if path.is_file()]


def test_a_sync_that_lost_the_server_ends_soon_and_goes_on_later(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards scripts: a failure is an exit code, unless partial is enough; what came before it is kept."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    manifests = [path for _, path in proxy.seen if "/entries/" in path]
    proxy.rules.append(Rule("403", method="GET", part=manifests[0].rpartition("/")[2]))
    partial = reader.data("sync", "--pull", exit_code=1)["pull"]
    assert (partial["done"], partial["failed"], partial["total"]) == (4, 1, 5)
    assert "the server answered 403" in partial["problems"][0]
    assert reader.data("sync", "--pull", "--allow-partial")["pull"]["skipped"] == 4
    proxy.rules.clear()
    assert reader.data("sync", "--pull")["pull"]["done"] == 1
    proxy.rules.append(Rule("403", method="PUT"))
    reader.data("keys", "generate")
    reader.checkout("b", {**chain(), "leaf/src/lib.rs": "pub fn number() -> u32 { 5 }\n"}).build()
    assert reader.data("sync", "--push", exit_code=1)["push"]["failed"] == 3
    proxy.rules.clear()
    assert reader.data("sync", "--push")["push"]["failed"] == 0


def test_a_sync_shows_how_far_it_is(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards people who wait: on a terminal a bar counts the entries."""
    import pexpect

    writer, reader = behind_proxy.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    proxy.latency_s = 0.4
    reader.settings["KACHE_REMOTE_CONCURRENCY"] = "1"
    child = pexpect.spawn(str(KACHE), ["sync", "--pull"], env=reader.env(), timeout=60, encoding="utf-8")
    child.expect("[1-4]/5 entries brought")
    child.expect("brought: 5 entries")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_report_names_what_was_fetched_in_vain(machines: Machines) -> None:
    """Guards money and time: bytes and requests each way, and which entries nobody used."""
    writer, reader = machines.pair()
    writer.checkout("a", everything()).build().expect(misses=5)
    pushed(writer)
    reader.data("sync", "--pull")
    checkout = reader.checkout("b", everything())
    checkout.build("-p", "generated").expect(hits="generated generated", misses=0)
    reader.settle()
    remote = reader.data("stats")["remote"]
    assert {one["crate_name"] for one in remote["unused"]} == {"macros", "both", "app"} and remote["unused_count"] == 3
    assert remote["received_bytes"] > remote["unused_bytes"] > 0 and remote["get_requests"] >= 5
    text = reader.kache("report", "--since", "1d").stdout
    assert "fetched, never used" in text and "both" in text and "in 10 requests" in text, text


def ticking() -> Files:
    """A macro that gives another number each time, as no build should."""
    macro = """use proc_macro::TokenStream;
#[proc_macro]
pub fn now(_: TokenStream) -> TokenStream {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    format!("{}u128", now.as_nanos()).parse().unwrap()
}
"""
    thing = {
        "Cargo.toml": manifest("thing", deps={"clock": "../clock"}),
        "src/lib.rs": "pub fn at() -> u128 { clock::now!() }\n",
    }
    clock = {"Cargo.toml": manifest("clock", extra="[lib]\nproc-macro = true"), "src/lib.rs": macro}
    return {**workspace("clock", "thing"), **below("clock", clock), **below("thing", thing)}


def test_another_result_under_one_key_is_told_and_changes_nothing(machines: Machines) -> None:
    """Guards what others have: the second of two results for one key is not sent, and its writer hears of it."""
    first, second = machines.writer(), machines.writer()
    second.data("keys", "trust", public_key(first))
    first.checkout("a", ticking()).build().expect(misses=2)
    pushed(first)
    root = Path(machines.remote.removeprefix("file://"))
    root.rename(root.with_name("aside"))  # the share is not mounted while the second compiles
    second.checkout("b", ticking()).build().expect(misses=2)
    root.with_name("aside").rename(root)
    before = {path: path.read_bytes() for path in (root / "v1" / "entries").rglob("*") if path.is_file()}
    second.stop()
    second.kache("daemon", "start")
    pushed(second)
    puts = second.data("stats")["remote"]["puts"]
    assert (puts["differs"], puts["present"], puts["stored"]) == (1, 1, 0)
    assert "thing: " in second.log() and "holds another result for the same inputs" in second.log()
    assert {path: path.read_bytes() for path in (root / "v1" / "entries").rglob("*") if path.is_file()} == before
    assert "1 with another result there" in second.kache("stats").stdout
