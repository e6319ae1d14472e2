"""A store that is kept within its budget, emptied, and used by several at once stays right."""

from __future__ import annotations

import subprocess
import threading
import time

from tests.support.checkout import Checkout
from tests.support.projects import chain, everything, hello, lib
from tests.support.sandbox import KACHE, Sandbox


def prints(checkout: Checkout, expected: str = "42\n") -> None:
    """The program of `chain` does what its sources say."""
    assert checkout.program("app") == expected


def test_gc_keeps_the_budget_and_the_rest_stays_right(box: Sandbox) -> None:
    """Guards eviction: what stays is whole, what went is compiled again."""
    box.checkout("a", chain()).build()
    box.checkout("b", hello()).build()
    size = box.data("stats")["store"]["allocated_bytes"]
    report = box.data("gc", "--max-size", str(size // 2))
    assert report["evicted_entries"] >= 1 and report["kept_entries"] >= 1
    assert box.data("stats")["store"]["allocated_bytes"] <= size // 2
    for name, files in (("second", chain()), ("third", hello())):
        checkout = box.checkout(name, files)
        checkout.build().expect(hits=None, misses=None)
        checkout.same_bytes_as_plain()


def test_a_tiny_budget_during_builds(box: Sandbox) -> None:
    """Guards a store that can hold next to nothing: it is emptied again and again, and no build fails."""
    box.settings["KACHE_MAX_SIZE"] = "20 KiB"
    for name in ("a", "second", "third"):
        checkout = box.checkout(name, chain())
        checkout.build("-q")
        prints(checkout)
    checkout.same_bytes_as_plain()


def test_the_budget_is_kept_without_being_asked(box: Sandbox) -> None:
    """Guards automatic collection: some time after the builds the store is within max_size."""
    box.settings["KACHE_MAX_SIZE"] = "1 MiB"
    for number in range(3):
        files = chain()
        files["leaf/src/lib.rs"] = files["leaf/src/lib.rs"].replace("21", str(number))
        box.checkout(f"c{number}", files).build()

    def small_enough() -> bool:
        return int(box.data("stats")["store"]["allocated_bytes"]) <= 1 << 20

    deadline = time.monotonic() + 15
    while not small_enough():
        assert time.monotonic() < deadline, box.log()
        if box.engine == "in-process":  # no daemon: the next build does it
            box.checkout("more", lib()).clean().build()
        time.sleep(0.2)


def test_purge_empties_the_store_under_a_running_engine(box: Sandbox) -> None:
    """Guards `kache purge`: nothing is served from what memory still knows."""
    box.checkout("a", chain()).build()
    assert box.kache("purge", "--yes").returncode == 0
    assert box.blobs() == []
    second = box.checkout("second", chain())
    second.build().expect(misses="leaf mid app", hits=0)
    box.checkout("third", chain()).build().expect(hits="leaf mid app", misses=0)


# ---- several at once


def test_two_cold_builds_at_once_on_one_store(box: Sandbox) -> None:
    """Guards concurrency: two cargos fill one store, both results are right, and afterwards everything hits."""
    checkouts = [box.checkout("a", everything()), box.checkout("the/second", everything())]
    running = [checkout.start("build") for checkout in checkouts]
    for process in running:
        _, stderr = process.communicate(timeout=120)
        assert process.returncode == 0, stderr
    box.calls().expect(hits=None, misses=None, dups=None)
    for checkout in checkouts:
        checkout.same_bytes_as_plain()
        checkout.fresh()
    third = box.checkout("third", everything())
    third.build().expect(hits=5, misses=0)
    third.same_bytes_as_plain()
    assert box.data("doctor", exit_code=box.kache("doctor").returncode)["failed"] == 0


def test_builds_while_another_process_evicts(box: Sandbox) -> None:
    """Guards restores against a collector: whatever vanishes between lookup and link is compiled instead."""
    checkout = box.checkout("a", chain())
    checkout.build()
    stop = threading.Event()

    def evict() -> None:
        while not stop.is_set():
            subprocess.run([KACHE, "gc", "--max-size", "0"], env=box.env(), capture_output=True, check=False)

    evicting = threading.Thread(target=evict)
    evicting.start()
    try:
        for _ in range(6):
            checkout.clean().build("-q")
            prints(checkout)
    finally:
        stop.set()
        evicting.join()
    checkout.same_bytes_as_plain()


def test_a_daemon_and_calls_without_one_share_a_store(daemon_box: Sandbox) -> None:
    """Guards mixed use: what an in-process engine records the daemon finds, and the other way round."""
    box = daemon_box
    alone = {"KACHE_DAEMON": "0"}
    box.checkout("a", chain()).build().expect(misses=3)
    box.checkout("second", chain()).build(env=alone).expect(hits=3, misses=0)
    box.checkout("b", hello()).build(env=alone).expect(misses=2)
    box.checkout("third", hello()).build().expect(hits=2, misses=0)
