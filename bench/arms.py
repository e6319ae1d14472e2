"""The contestants: plain cargo, the do-nothing wrapper, kache and its peers, behind one small interface."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from bench.errors import BenchError
from bench.kache_box import Counts, KacheBox
from bench.usage import tail


class Arm(Protocol):
    """One way to build."""

    name: str
    cargo: list[str]

    def env(self, checkout: Path) -> dict[str, str]:
        """Return the environment for a build of this checkout."""

    def reset(self) -> None:
        """Empty the cache and end its daemon."""

    def settle(self) -> None:
        """Return when all work left over from a build is done."""

    def daemon_cpu_s(self) -> float:
        """Return the CPU seconds of the arm's daemon so far; 0.0 without one."""

    def counts(self) -> Counts | None:
        """Return the counters so far; None if the arm has none."""

    def stop(self) -> None:
        """End what the arm left running."""


class PlainArm:
    """cargo alone."""

    name = "plain"

    def __init__(self, base_env: Mapping[str, str]) -> None:
        self.cargo = ["cargo"]
        self._base_env = dict(base_env)

    def env(self, checkout: Path) -> dict[str, str]:
        """Return the plain environment."""
        return dict(self._base_env)

    def reset(self) -> None:
        """Nothing is kept."""

    def settle(self) -> None:
        """Nothing is left over."""

    def daemon_cpu_s(self) -> float:
        """There is no daemon."""
        return 0.0

    def counts(self) -> Counts | None:
        """There are no counters."""
        return None

    def stop(self) -> None:
        """Nothing runs."""


class NothingArm(PlainArm):
    """The do-nothing wrapper: the first build records, later ones replay (F)."""

    name = "nothing"

    def __init__(self, base_env: Mapping[str, str], program: Path, directory: Path) -> None:
        super().__init__(base_env)
        self.program = program
        self.recordings = directory / "recordings"
        self.log = directory / "calls.log"
        self._recorded = False

    def env(self, checkout: Path) -> dict[str, str]:
        """Return an environment that records until `settle` was called once."""
        return self._base_env | {
            "RUSTC_WRAPPER": str(self.program),
            "NOTHING_DIR": str(self.recordings),
            "NOTHING_ROOT": str(checkout),
            "NOTHING_LOG": str(self.log),
            "NOTHING_MODE": "replay" if self._recorded else "record",
        }

    def reset(self) -> None:
        """Forget the recordings."""
        shutil.rmtree(self.recordings, ignore_errors=True)
        self.recordings.mkdir(parents=True)
        self.log.write_text("")
        self._recorded = False

    def settle(self) -> None:
        """Replay from now on."""
        self._recorded = True

    def counts(self) -> Counts | None:
        """Return the calls seen since the last reset, as hits."""
        return Counts(outcomes={"local_hit": len(self.log.read_text().splitlines())})


class KacheArm:
    """Our kache, in a box of its own."""

    def __init__(self, box: KacheBox, name: str = "kache") -> None:
        self.name = name
        self.cargo = ["cargo"]
        self.box = box

    def env(self, checkout: Path) -> dict[str, str]:
        """Return the box's environment."""
        return self.box.env()

    def reset(self) -> None:
        """Empty the box."""
        self.box.reset()

    def settle(self) -> None:
        """`kache stats` waits until every record is written; state is made for edits when their build has ended."""
        self.box.counts()
        while self.box.status().get("edit_states"):
            time.sleep(0.1)

    def daemon_cpu_s(self) -> float:
        """Return the daemon's CPU seconds."""
        return self.box.daemon_cpu_s()

    def counts(self) -> Counts | None:
        """Return the box's counters."""
        return self.box.counts()

    def stop(self) -> None:
        """Stop the daemon."""
        self.box.stop()


def build_nothing_wrapper(work: Path, env: Mapping[str, str]) -> Path:
    """Build the do-nothing wrapper and a native `true`; return the wrapper."""
    source = Path(__file__).with_name("nothing_wrapper")
    target = work / "nothing-target"
    argv = ["cargo", "build", "--release", "--locked", "--offline", "--target-dir", str(target)]
    done = subprocess.run(
        argv, env=dict(env), cwd=source, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError("could not build the do-nothing wrapper", tail(done.stderr), f"see {source}")
    return target / "release" / "nothing-wrapper"


def build_true(work: Path, env: Mapping[str, str]) -> Path:
    """Compile a program that only ends: what starting any native process costs here."""
    source, program = work / "native_true.rs", work / "native-true"
    source.write_text("fn main() {}\n")
    argv = ["rustc", "-O", "-C", "strip=symbols", "-o", str(program), str(source)]
    done = subprocess.run(
        argv, env=dict(env), cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BenchError("could not compile a native `true`", tail(done.stderr), "check that rustc can link a program")
    return program
