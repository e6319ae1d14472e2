"""What every phase of the benchmark needs, and the timed build they share."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.arms import Arm, KacheArm, NothingArm, PlainArm, build_nothing_wrapper, build_true
from bench.errors import BenchError
from bench.kache_box import KacheBox
from bench.projects import Project, checkout, published
from bench.usage import Usage, run_measured, tail


@dataclass
class Context:
    """One run of the benchmark.

    Attributes:
        work: scratch directory; every store and checkout is below it, so all on one filesystem.
        program: the kache measured.
        base_env: the environment of a plain build.
        pairs: paired cold rounds.
        rounds: rounds of everything else compared.
        projects: names of `projects.toml`.
        loops: launcher calls timed per unit.
        far_rounds: rounds of the phases with a bucket: each arm fetches everything anew.
        peers: the installed peers.
    """

    work: Path
    program: Path
    base_env: Mapping[str, str]
    pairs: int = 11
    rounds: int = 5
    projects: list[str] = field(default_factory=lambda: ["ripgrep", "mdbook"])
    loops: int = 200
    units: int = 5000
    entries: int = 100_000
    far_rounds: int = 3
    peers: list[Arm] = field(default_factory=list)
    made: list[Arm] = field(default_factory=list)

    def stop_all(self) -> None:
        """End the daemons of all arms made so far: also when a phase failed or was interrupted."""
        for arm in [*self.made, *self.peers]:
            arm.stop()
        self.made.clear()

    def project(self, name: str) -> Project:
        """Fetch a pinned project."""
        return published(name, self.work, self.base_env)

    def checkout(self, project: Project, label: str) -> Path:
        """Make a fresh checkout; the label is part of its path, so labels of different length move every path in it."""
        return checkout(project, self.work / "checkouts" / label / project.name, self.base_env)

    def plain(self) -> PlainArm:
        """Return plain cargo."""
        return PlainArm(self.base_env)

    def kache(self, label: str = "kache", *, daemon: bool = True, **settings: str) -> KacheArm:
        """Return our kache with an empty store; `settings` are further variables."""
        env = {**self.base_env, **settings}
        arm = KacheArm(KacheBox(self.work / "state" / label, self.program, env, daemon=daemon), label)
        self.made.append(arm)
        arm.reset()
        return arm

    def nothing(self) -> NothingArm:
        """Return the do-nothing wrapper without recordings."""
        arm = NothingArm(
            self.base_env, build_nothing_wrapper(self.work, self.base_env), self.work / "state" / "nothing"
        )
        arm.reset()
        return arm

    def native_true(self) -> Path:
        """Return a program that only ends."""
        return build_true(self.work, self.base_env)


def say(text: str) -> None:
    """Print a line of progress."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def clean(where: Path) -> None:
    """Remove a checkout's target directory."""
    shutil.rmtree(where / "target", ignore_errors=True)


def timed_build(arm: Arm, where: Path, *arguments: str, words: Sequence[str] = ("build",)) -> Usage:
    """Run one build (or what `words` say) with nothing of the last one still being written.

    The daemon's CPU is in the result.
    The wall time ends with cargo; the daemon's CPU is read once it has finished recording, so work it puts off counts.
    """
    os.sync()
    cpu_before = arm.daemon_cpu_s()
    env = arm.env(where)
    usage = run_measured([*arm.cargo, *words, "--locked", "--offline", *arguments], env, where)
    if usage.exit_code:
        raise BenchError(
            f"the build failed ({arm.name}, {where.name})",
            tail(usage.output),
            "every arm must build the project; see above",
        )
    arm.settle()
    return Usage(usage.wall_s, usage.cpu_s + arm.daemon_cpu_s() - cpu_before, usage.output, 0)
