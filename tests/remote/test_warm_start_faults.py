"""A warm start from a remote that is slow, silent or gone, and machines that are killed in the middle of one."""

from __future__ import annotations

import os
import signal
from typing import Any

import pexpect
import pytest

from tests.support import processes
from tests.support.checkout import Checkout
from tests.support.machines import Machines, sets_sent, sets_waiting
from tests.support.projects import Files, chain
from tests.support.sandbox import Sandbox, toolchain_bin
from tests.support.servers.proxy import FaultyProxy, Rule

STEPS = ["list-type", "/units/", "/packs/"]
"""What a reader asks for, in this order: the names, the set, the packs."""


def pair(machines: Machines, files: Files | None = None) -> tuple[Sandbox, Sandbox]:
    """A writer that has built and sent, and a reader of the same CARGO_HOME."""
    writer, reader = machines.pair()
    for box in (writer, reader):
        box.settings |= {"KACHE_WARM_START": "1", "KACHE_PREFETCH": "0"}
    reader.cargo_home = writer.cargo_home
    writer.checkout("a", files or chain()).build()
    sets_sent(writer)
    return writer, reader


def is_right(checkout: Checkout) -> None:
    """Whatever served it."""
    assert checkout.program("app") == "42\n"
    checkout.fresh()
    checkout.same_bytes_as_plain()


@pytest.mark.parametrize("step", STEPS)
def test_a_silent_remote_is_asked_once(behind_proxy: Machines, proxy: FaultyProxy, step: str) -> None:
    """Guards builds: whatever step stands still, that one wait is all, and cargo compiles."""
    _, reader = pair(behind_proxy)
    reader.settings["KACHE_REMOTE_STALL"] = "0.8"
    proxy.rules.append(Rule("hang", method="GET", part=step))
    proxy.seen.clear()
    second = reader.checkout("b", chain())
    built = second.build()
    built.expect(misses=3, hits=0)
    assert len([one for one in proxy.requests("GET") if step in one[1]]) == 1
    assert "is left alone" in built.stderr
    is_right(second)


@pytest.mark.parametrize("step", STEPS)
def test_a_reader_killed_while_cargo_waits_goes_on(behind_proxy: Machines, proxy: FaultyProxy, step: str) -> None:
    """Guards the store and the target: kill -9 of the daemon at each step leaves nothing wrong behind."""
    _, reader = pair(behind_proxy)
    proxy.rules.append(Rule("stall" if step == "/packs/" else "hang", method="GET", part=step, times=1))
    proxy.seen.clear()
    second = reader.checkout("b", chain())
    running = second.start("build")
    processes.until(lambda: proxy.requests("GET", step), limit_s=60)
    os.kill(reader.daemon(), signal.SIGKILL)
    _, text = running.communicate(timeout=120)
    assert running.returncode == 0, text
    assert second.program("app") == "42\n"
    second.clean().build().expect(misses=None, hits=None)
    is_right(second)


@pytest.mark.parametrize("part", ["/packs/", "/units/"])
def test_a_writer_killed_while_it_sends_goes_on(behind_proxy: Machines, proxy: FaultyProxy, part: str) -> None:
    """Guards the queue: the set waits in the index, and names what is there."""
    writer, reader = behind_proxy.pair()
    for box in (writer, reader):
        box.settings |= {"KACHE_WARM_START": "1", "KACHE_PREFETCH": "0"}
    reader.cargo_home = writer.cargo_home
    proxy.rules.append(Rule("hang", method="PUT", part=part, times=1))
    writer.checkout("a", chain()).build().expect(misses=3)
    processes.until(lambda: proxy.requests("PUT", part), limit_s=60)
    os.kill(writer.daemon(), signal.SIGKILL)
    assert sets_waiting(writer) == 1
    writer.kache("daemon", "start")
    sets_sent(writer)
    second = reader.checkout("b", chain())
    assert {call.outcome for call in second.build().calls.all if call.crate} == {"seeded"}
    is_right(second)


def test_cargo_starts_when_its_time_is_up_and_the_rest_follows(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards impatient people: what comes too late for placing is a hit."""
    _, reader = pair(behind_proxy)
    reader.settings["KACHE_REMOTE_WARM_LIMIT"] = "0.2"
    proxy.bytes_per_s = 400_000
    second = reader.checkout("b", chain())
    second.build().expect(misses=0, hits=None)
    assert "cargo starts while" in reader.log()
    is_right(second)


def test_what_comes_later_than_compiling_takes_is_compiled(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards against a cache that is slower than none."""
    _, reader = pair(behind_proxy)
    reader.settings |= {"KACHE_REMOTE_WAIT": "0.05", "KACHE_REMOTE_WARM_LIMIT": "0.3"}
    proxy.bytes_per_s = 20_000
    second = reader.checkout("b", chain())
    built = second.build()
    assert built.calls.misses, str(built.calls)
    is_right(second)


def test_progress_is_on_the_terminal_and_ctrl_c_ends_the_wait(behind_proxy: Machines, proxy: FaultyProxy) -> None:
    """Guards people who wait: cargo captures what its probe prints, so the line goes to the terminal itself."""
    _, reader = pair(behind_proxy)
    proxy.rules.append(Rule("stall", method="GET", part="/packs/", times=1))
    second = reader.checkout("b", chain())
    child = typed(second)
    child.expect("Fetching")
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.signalstatus == signal.SIGINT or child.exitstatus not in (0, None)
    processes.until(lambda: not list((reader.cache_dir / "store" / "tmp").iterdir()), limit_s=30)
    reader.daemon()  # lives on
    assert {call.outcome for call in second.build().calls.all if call.crate} == {"seeded"}
    is_right(second)


def typed(checkout: Checkout) -> Any:
    """`cargo build` on a terminal of its own."""
    return pexpect.spawn(
        str(toolchain_bin() / "cargo"),
        ["build"],
        env={**checkout.box.env(), "TERM": "xterm"},
        cwd=str(checkout.path),
        encoding="utf-8",
        timeout=120,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
