"""Who takes part, behind one interface: fill a store once, then build from it and say which path was taken."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import peers
from bench.arms import Arm, KacheArm, PlainArm
from bench.context import Context, timed_build
from bench.errors import BenchError

ARCHIVE = "archive"


@dataclass(frozen=True)
class Sample:
    """One measured build.

    Attributes:
        wall_s: from the command to its end; with an archive, unpacking it included.
        cpu_s: of cargo's process tree, and of a daemon where it is known.
        hits: what the tool's own statistics counted; None where it tells none.
    """

    wall_s: float
    cpu_s: float
    hits: int | None


class Contestant:
    """One way to build.

    Args:
        arm: how it is started.
        hits: what its statistics have counted so far; None if it has none.
        is_cache: whether a filled store must show in what it does.
    """

    def __init__(self, arm: Arm, hits: Callable[[], int | None], *, is_cache: bool = True) -> None:
        self.arm = arm
        self.name = arm.name
        self.is_cache = is_cache
        self._hits = hits

    def reset(self) -> None:
        """Empty its store."""
        self.arm.reset()

    def fill(self, where: Path, words: Sequence[str]) -> Sample:
        """Build with what there is in the store, and keep what was made."""
        return self._built(where, words)

    def measure(self, where: Path, words: Sequence[str]) -> Sample:
        """Build in a checkout without a target."""
        return self._built(where, words)

    def _built(self, where: Path, words: Sequence[str]) -> Sample:
        before = self._hits()
        usage = timed_build(self.arm, where, words=words)
        after = self._hits()
        hits = None if before is None or after is None else after - before
        return Sample(usage.wall_s, usage.cpu_s, hits)


class ArchiveContestant(Contestant):
    """What CI without a cache of compiles does: the whole target directory as one tar.zst.

    Args:
        context: of the run.
    """

    def __init__(self, context: Context) -> None:
        arm = PlainArm(context.base_env)
        arm.name = ARCHIVE
        super().__init__(arm, lambda: None)
        self.directory = context.work / "state" / ARCHIVE

    def reset(self) -> None:
        """Delete it."""
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)

    def fill(self, where: Path, words: Sequence[str]) -> Sample:
        """Build, and pack the target for this kind of command."""
        sample = self._built(where, words)
        _run(["tar", "-I", "zstd -3 -T0", "-cf", str(self._file(words)), "target"], where)
        return sample

    def measure(self, where: Path, words: Sequence[str]) -> Sample:
        """Unpack, then build what cargo finds stale."""
        started = time.perf_counter()
        _run(["tar", "-I", "zstd -d", "-xf", str(self._file(words)), "-C", str(where)], where)
        unpacked_s = time.perf_counter() - started
        sample = self._built(where, words)
        return Sample(sample.wall_s + unpacked_s, sample.cpu_s, None)

    def _file(self, words: Sequence[str]) -> Path:
        return self.directory / f"{'-'.join(words)}.tar.zst"


def contestants(context: Context) -> tuple[list[Contestant], list[str]]:
    """Everybody who can take part here, and the names of those who cannot."""
    kache = context.kache()
    found: list[Contestant] = [
        Contestant(context.plain(), lambda: None, is_cache=False),
        Contestant(kache, lambda: _kache_hits(kache)),
    ]
    absent = []
    if shutil.which("zstd"):
        found.append(ArchiveContestant(context))
    else:
        absent.append(f"{ARCHIVE} (needs zstd)")
    # As their documentation says: with what they put into a target before cargo asks.
    present, missing = peers.arms(context.work, context.base_env, seeding=True) if context.peers else ([], [])
    found += [Contestant(arm, hits_of(context, arm)) for arm in present]
    return found, [*absent, *missing]


def _kache_hits(arm: KacheArm) -> int:
    counts = arm.box.counts()
    return counts.hits + counts.outcomes.get("seeded", 0)


def hits_of(context: Context, arm: Arm) -> Callable[[], int | None]:
    """The statistics of a peer: sccache tells them as JSON, the others in words for people."""
    program = next((peer.binary(context.work) for peer in peers.PEERS if peer.label == arm.name), None)
    if program is None or "sccache" not in arm.name:
        return lambda: None

    def asked() -> int | None:
        argv = [str(program), "--show-stats", "--stats-format", "json"]
        done = subprocess.run(argv, env=arm.env(context.work), capture_output=True, text=True, check=False)
        try:
            return int(sum(json.loads(done.stdout)["stats"]["cache_hits"]["counts"].values()))
        except (ValueError, KeyError):
            return None

    return asked


def _run(argv: list[str], where: Path) -> None:
    done = subprocess.run(argv, cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"{argv[0]} fails", done.stderr.strip()[-500:], "see what it says")
