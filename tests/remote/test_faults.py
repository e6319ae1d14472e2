"""A remote that is slow, failing, wrong or gone costs a build a moment, never the build."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import processes
from tests.support.filesystems import small_tmpfs
from tests.support.machines import Machines, pushed, waiting
from tests.support.projects import Files, chain, everything, manifest, workspace
from tests.support.sandbox import Sandbox
from tests.support.servers import differences
from tests.support.servers.proxy import FaultyProxy, Rule

COST_S = 1.0
"""What a dead remote may cost a build in all."""
NOISE_S = 1.5
"""Two builds of the same thing differ by so much on a busy machine."""


def row(count: int) -> Files:
    """Packages in a row: nothing is built at the same time, so waits would add up."""
    files = workspace(*(f"p{number}" for number in range(count)))
    for number in range(count):
        deps = {f"p{number - 1}": f"../p{number - 1}"} if number else {}
        files[f"p{number}/Cargo.toml"] = manifest(f"p{number}", deps=deps)
        files[f"p{number}/src/lib.rs"] = f"pub fn number() -> u32 {{ {number} }}\n"
    return files


def timed(box: Sandbox, name: str, files: Files, **expected: int) -> float:
    checkout = box.checkout(name, files)
    started = time.monotonic()
    built = checkout.build()
    took_s = time.monotonic() - started
    built.expect(**expected)
    return took_s


@pytest.mark.parametrize("fault", ["hang", "stall", "reset", "503"])
def test_a_dead_remote_costs_a_build_a_second_at_most(behind_proxy: Machines, proxy: FaultyProxy, fault: str) -> None:
    """Guards builds: the first wait that is in vain is the last one."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", row(12)).build()
    pushed(writer)
    reader.kache("daemon", "start")
    local = timed(reader, "warm/up", row(12), hits=12, misses=0)
    assert local < 60
    alone_box = behind_proxy.make(KACHE_LOCAL_ONLY="1")
    alone_box.kache("daemon", "start")
    plain_s = timed(alone_box, "b", row(12), misses=12, hits=0)
    other = behind_proxy.reader(writer, KACHE_REMOTE_STALL="0.8")
    other.kache("daemon", "start")
    proxy.rules.append(Rule(fault, method="GET"))
    broken_s = timed(other, "b", row(12), misses=12, hits=0)
    assert broken_s < plain_s + COST_S + NOISE_S
    assert "is left alone for a while" in other.log()
    asked = len(proxy.requests("GET"))
    timed(other, "c", {**row(12), "p0/src/lib.rs": "pub fn n() -> u32 { 99 }\n"}, misses=2)
    assert len(proxy.requests("GET")) - asked <= 3


def test_a_remote_that_is_well_again_is_used_again(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards recovery: a probe beside the builds closes the breaker."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", chain()).build()
    pushed(writer)
    proxy.rules.append(Rule("503", method="GET"))
    reader.checkout("b", chain()).build().expect(misses=3, hits=0)
    proxy.rules.clear()
    processes.until(lambda: "answers again" in reader.log(), limit_s=20)
    reader.data("purge", "--yes")
    reader.checkout("c", chain()).build().expect(hits=3, misses=0)


@pytest.mark.parametrize("fault", ["hang", "reset", "403", "500", "503"])
def test_uploads_wait_for_better_days(behind_proxy: Machines, proxy: FaultyProxy, fault: str) -> None:
    """Guards the queue: nothing is lost, whatever a server says, and builds never wait for uploads."""
    writer = behind_proxy.writer(KACHE_REMOTE_STALL="0.3")
    proxy.rules.append(Rule(fault, method="PUT"))
    writer.checkout("a", chain()).build().expect(misses=3)
    assert waiting(writer) == 3
    writer.stop()
    assert waiting(writer) == 3
    proxy.rules.clear()
    writer.kache("daemon", "start")
    done = writer.data("sync", "--push")["push"]
    assert done["failed"] == 0
    assert writer.data("remote", "verify", "--packs")["done"] == 3


@pytest.mark.parametrize("status", ["409", "412"])
def test_a_conditional_put_that_loses_is_no_failure(behind_proxy: Machines, proxy: FaultyProxy, status: str) -> None:
    """Guards AWS: 412 for what is there, 409 for what somebody else is putting just now."""
    writer = behind_proxy.writer()
    code = {"409": b"ConditionalRequestConflict", "412": b"PreconditionFailed"}[status]
    body = b"<?xml version='1.0'?><Error><Code>" + code + b"</Code><Message>no</Message></Error>"
    # The put has happened, and the answer says that it had before: as after a retry whose first answer was lost.
    times = {"409": 2, "412": -1}[status]  # after a conflict AWS knows whether it is there
    proxy.rules.append(Rule(status, method="PUT", value=body, after=True, times=times))
    writer.checkout("a", chain()).build().expect(misses=3)
    pushed(writer)
    proxy.rules.clear()
    assert writer.data("remote", "verify", "--packs")["done"] == 3
    puts = writer.data("stats")["remote"]["puts"]
    assert (puts["present"], puts["stored"]) == {"409": (0, 3), "412": (3, 0)}[status]


@pytest.mark.parametrize("fault", ["truncate", "flip", "404", "403", "429"])
def test_packs_that_do_not_arrive_whole_are_misses(behind_proxy: Machines, proxy: FaultyProxy, fault: str) -> None:
    """Guards what is restored: a pack with one wrong bit is no pack."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", chain()).build()
    pushed(writer)
    proxy.rules.append(Rule(fault, method="GET", part="/packs/"))
    second = reader.checkout("b", chain())
    second.build().expect(misses=3, hits=0)
    second.same_bytes_as_plain()
    assert not list((reader.cache_dir / "store" / "tmp").iterdir())


def test_a_slow_remote_loses_the_race_against_compiling(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards against a cache that is slower than none: what arrives later than compiling takes is compiled."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", chain()).build()
    pushed(writer)
    proxy.latency_s = 0.5
    reader.settings["KACHE_REMOTE_WAIT"] = "0.1"
    reader.checkout("b", chain()).build().expect(hits=None, misses=None)
    remote = reader.data("stats")["remote"]
    assert remote["gets"]["slower"] + remote["gets"]["hit"] >= 1


@pytest.mark.parametrize("part", ["/memos/", "/entries/", "/packs/"])
def test_a_reader_killed_while_it_fetches_goes_on(behind_proxy: Machines, proxy: FaultyProxy, part: str) -> None:
    """Guards the store: kill -9 of the daemon at each step of a download leaves nothing wrong behind."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", chain()).build()
    pushed(writer)
    proxy.rules.append(Rule("stall" if part == "/packs/" else "hang", method="GET", part=part, times=1))
    second = reader.checkout("b", chain())
    proxy.seen.clear()  # of the writer's questions
    running = second.start("build")
    processes.until(lambda: proxy.requests("GET", part), limit_s=60)
    time.sleep(0.2)
    os.kill(reader.daemon(), signal.SIGKILL)
    _, text = running.communicate(timeout=120)
    assert running.returncode == 0, text
    assert second.program("app") == "42\n"  # by plain rustc: without a daemon's answer its launcher becomes that
    second.clean().build().expect(misses=None, hits=None)
    second.same_bytes_as_plain()
    assert reader.kache("doctor").returncode == 0


@pytest.mark.parametrize("part", ["/packs/", "/entries/", "/memos/"])
def test_a_writer_killed_while_it_sends_goes_on(behind_proxy: Machines, proxy: FaultyProxy, part: str) -> None:
    """Guards the order: pack, manifest, memo; what is half there is finished by the next daemon."""
    writer = behind_proxy.writer()
    proxy.rules.append(Rule("hang", method="PUT", part=part, times=1))
    writer.checkout("a", chain()).build().expect(misses=3)
    processes.until(lambda: proxy.requests("PUT", part), limit_s=60)
    time.sleep(0.2)
    os.kill(writer.daemon(), signal.SIGKILL)
    assert waiting(writer) >= 1
    writer.kache("daemon", "start")
    pushed(writer)
    verified = writer.data("remote", "verify", "--packs")
    assert (verified["done"], verified["refused"], verified["failed"]) == (3, 0, 0)
    reader = behind_proxy.reader(writer)
    reader.checkout("b", chain()).build().expect(hits=3, misses=0)


def test_a_full_disk_on_the_reader_costs_hits_alone(machines: Machines, tmp_path: Path) -> None:
    """Guards machines with little room: what cannot be stored is compiled."""
    writer = machines.writer()
    writer.checkout("a", everything()).build()
    pushed(writer)
    reader = machines.reader(writer)
    with small_tmpfs(tmp_path, 1 << 20) as point:
        reader.settings["KACHE_CACHE_DIR"] = str(point / "cache")
        reader.cache_dir = point / "cache"
        second = reader.checkout("b", everything())
        second.build().expect(hits=None, misses=None, passthroughs=None, errors=None)
        assert second.run("-p", "app") == "13\n"
        reader.stop()


def test_a_share_that_is_not_there_is_no_trouble(machines: Machines) -> None:
    """Guards laptops: the directory is on a server that is not mounted today."""
    writer = machines.writer()
    Path(machines.remote.removeprefix("file://")).rmdir()
    writer.checkout("a", chain()).build().expect(misses=3)
    assert waiting(writer) == 3
    assert "no directory" in writer.data("remote", "status", exit_code=1)["problem"]


READ_FAULTS = {
    "403 clock": differences.skewed(),
    "400 expired": differences.expired(),
    "404": Rule("404"),
    "409": Rule("409"),
    "412": Rule("412"),
    "429": Rule("429"),
    "500": Rule("500"),
    "503": differences.slow_down(),
    "late": Rule("late", seconds=60),
    "flip": Rule("flip"),
    "truncate": Rule("truncate"),
    "swap": Rule("swap", value=b"another object's body"),
}


def test_whatever_a_server_answers_a_build_goes_on_and_says_so_once(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards builds: right programs, few requests, one line for people, and the next build is served again."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", row(6)).build()
    pushed(writer)
    reader.settings |= {"KACHE_REMOTE_STALL": "0.5"}
    for number, (name, rule) in enumerate(READ_FAULTS.items()):
        reader.stop()
        reader.data("purge", "--yes")
        proxy.rules[:] = [replace(rule, method="GET", times=-1)]
        proxy.seen.clear()
        checkout = reader.checkout(f"b{number}", row(6))
        built = checkout.build()
        built.expect(misses=6, hits=0)
        # A few tries of one request, or of each crate a memo and the next; never tries of each.
        assert len(proxy.requests("GET")) <= 12, name
        told = [line for line in built.stderr.splitlines() if line.startswith("warning: kache: ")]
        assert len(told) == (name != "404"), (name, told)
        if name[0] in "45" and name != "404":
            assert f"the server answered {name[:3]}" in told[0], told
        reader.stop()
        proxy.rules.clear()
    reader.data("purge", "--yes")
    last = reader.checkout("last", row(6))
    last.build().expect(hits=6, misses=0)
    last.same_bytes_as_plain()


def test_a_narrow_line_costs_less_than_compiling(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards people on trains: what would take longer to fetch than to compile is compiled."""
    writer, reader = behind_proxy.pair()
    writer.checkout("a", everything()).build()
    pushed(writer)
    proxy.bytes_per_s = 20_000
    reader.settings["KACHE_REMOTE_WAIT"] = "0.1"
    second = reader.checkout("b", everything())
    second.build().expect(hits=None, misses=None)
    assert second.program("app") == "13\n"
    processes.until(lambda: reader.data("stats")["remote"]["gets"]["slower"] >= 1, limit_s=30, what="it was counted")


WRITE_FAULTS = {
    "403 clock": differences.skewed(),
    "400 expired": differences.expired(),
    "404": Rule("404", value=differences.error("NoSuchBucket")),
    "409": differences.conflict(),
    "429": Rule("429"),
    "503": differences.slow_down(),
}


def test_whatever_a_server_answers_to_uploads_nothing_is_lost(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards the queue: each refusal leaves it as it is, and says in the log what to do."""
    writer = behind_proxy.writer()
    for number, (name, rule) in enumerate(WRITE_FAULTS.items()):
        proxy.rules[:] = [replace(rule, method="PUT", times=-1)]
        proxy.seen.clear()
        files = {**chain(), "leaf/src/lib.rs": f"pub fn number() -> u32 {{ {number} }}\n"}
        writer.checkout(f"a{number}", files).build().expect(misses=None, hits=None)
        processes.until(lambda: proxy.requests("PUT"), limit_s=60, what="an upload was tried")
        writer.stop()
        assert waiting(writer) == 3 * (number + 1), name
    proxy.rules.clear()
    done = writer.data("sync", "--push")["push"]
    assert done["failed"] == 0 and done["done"] == 3 * len(WRITE_FAULTS)
    log = writer.log()
    assert "set this machine's clock" in log and "sign in again" in log
