"""What builds use is noted from several threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kache.cargo.workspace import Workspace
from kache.compilers.rustc.toolchain import Toolchains
from kache.core.entry import Entry
from kache.core.outcome import Outcome
from kache.core.usage import Intent
from kache.engine.builds import Build
from kache.engine.calls import Call
from kache.engine.prefetch.learning import Learning, Watched
from kache.ipc.protocol import Request
from kache.store.local import LocalStore

BUILD = Build("1-1", b"/i/app", "cargo build")


def call(crate: str) -> Call:
    return Call(Request(1, 1, 0o22, 0, 0, "0.1.0", b"/i/app", [b"rustc", crate.encode()], []), 1, 1.0, BUILD)


def test_compiles_that_end_at_once_are_of_one_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards records: whoever found the build unknown a moment ago must not begin it anew and lose what is noted."""
    both = threading.Barrier(2, timeout=30)

    def begun(_: Learning, first: Call) -> Watched:
        both.wait()
        return Watched(Workspace(b"/i/app", b"/i/app/target", b"w"), Intent(b"w"), first.at_ns, first.clock, ())

    monkeypatch.setattr(Learning, "_begun", begun)
    store = LocalStore.open(tmp_path)
    learning = Learning(store, Toolchains(), is_on=True)

    def note(crate: str) -> None:
        entry = Entry(crate.encode(), b"w", crate, "lib", 1, (), f"{crate}.d", b"", b"", b"", ())
        learning.note(call(crate), entry, Outcome.MISS)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(note, ("leaf", "mid")))
    watched = learning.watched(call("app"))
    assert watched is not None and {use.crate_name for use in watched.uses.values()} == {"leaf", "mid"}
    store.close()
