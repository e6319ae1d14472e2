"""The engine without a launcher: real rustc calls handed to it one step at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kache.core.entry import Entry
from kache.engine.decisions import Found, Missed
from kache.engine.engine import Engine
from kache.engine.serve import Served
from kache.ipc.protocol import Done, Request
from kache.store.local import LocalStore
from tests.support.calls import LOOK
from tests.support.sandbox import toolchain_bin


class Bench:
    """An engine and a checkout with one program."""

    def __init__(self, root: Path, state_dir: Path | None = None) -> None:
        self.cache_dir = root / "cache"
        self.store = LocalStore.open(self.cache_dir)
        self.engine = Engine(self.store, self.cache_dir, state_dir or root / "state")
        self.checkout = root / "ws"
        self.out_dir = self.checkout / "target" / "debug" / "deps"
        self.out_dir.mkdir(parents=True)
        (self.checkout / "main.rs").write_text('fn main() { println!("{}", 6 * 7) }\n')

    @property
    def program(self) -> Path:
        return self.out_dir / "app-0123456789abcdef"

    def request(self) -> Request:
        argv = [str(toolchain_bin() / "rustc"), "--crate-name", "app", "main.rs", *(word.decode() for word in LOOK)]
        argv += ["--crate-type", "bin", "--emit=dep-info,link", "-C", "extra-filename=-0123456789abcdef"]
        argv += ["--out-dir", str(self.out_dir)]
        env = [f"{name}={os.environ.get(name, '')}" for name in ("PATH", "HOME", "RUSTUP_HOME", "LD_LIBRARY_PATH")]
        words = [os.fsencode(word) for word in argv]
        return Request(
            os.getpid(), os.getppid(), 0o22, 0, 0, "0", bytes(self.checkout), words, [e.encode() for e in env]
        )

    def compile(self, *, before_recording: list[str] | None = None) -> Entry | None:
        """Ask, run rustc, report; a command may come between rustc's end and the recording."""
        call = self.engine.arrive(self.request())
        missed = self.engine.begin(call)
        assert isinstance(missed, Missed), missed
        run = self.engine.compile(call, missed, wait=False)
        ran = subprocess.run(
            [os.fsdecode(word) for word in run.argv], cwd=self.checkout, capture_output=True, check=True
        )
        done = Done(run.token, 0, 0, 0, 0, 1000, ran.stdout, ran.stderr)
        self.engine.expect(done)
        if before_recording:
            subprocess.run(before_recording, check=True)
        return self.engine.finish(done)

    def hit(self) -> bool:
        call = self.engine.arrive(self.request())
        found = self.engine.begin(call)
        if not isinstance(found, Found):
            return False
        shutil.rmtree(self.out_dir)
        self.out_dir.mkdir()
        return isinstance(self.engine.restore(call, found), Served)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.engine.close()
    made.store.close()


def test_a_compile_is_recorded_and_served(bench: Bench) -> None:
    assert bench.compile() is not None
    assert bench.hit()
    assert subprocess.run([bench.program], capture_output=True, text=True, check=True).stdout == "42\n"


def test_a_toolchain_is_identified_once_a_machine_not_once_a_cache(tmp_path: Path) -> None:
    """Guards new caches: half a gigabyte has to be read to know a toolchain."""
    kept = tmp_path / "state" / "toolchains"
    dates = []
    for name in ("one", "two"):
        bench = Bench(tmp_path / name, kept.parent)
        bench.engine.begin(bench.engine.arrive(bench.request()))
        bench.engine.close()
        bench.store.close()
        dates.append(kept.stat().st_mtime_ns)
    assert dates[0] == dates[1], "the second one found something out that the first had not kept"
    assert kept.stat().st_mode & 0o777 == 0o600


def test_a_program_changed_before_it_was_recorded_is_not_kept(bench: Bench) -> None:
    """`cargo build && strip target/debug/app`: the strip may be quicker than the recording."""
    if shutil.which("strip") is None:
        pytest.skip("needs strip, of the C toolchain")
    assert bench.compile(before_recording=["strip", str(bench.program)]) is None
    assert not bench.hit()


def test_a_second_name_for_the_program_is_no_change(bench: Bench) -> None:
    """cargo links what it builds to target/debug at once."""
    uplifted = bench.out_dir.parent / "app"
    assert bench.compile(before_recording=["ln", str(bench.program), str(uplifted)]) is not None
    assert bench.hit()
