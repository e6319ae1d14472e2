"""Machines that share a bucket and nothing else, and what a build on one of them took."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.arms import Arm, KacheArm
from bench.bucket import Bucket, Wire
from bench.context import Context, say, timed_build
from bench.errors import BenchError
from bench.kache_box import Counts
from bench.stats import median, pair_order, paired_ratios, summary

_SENT_LIMIT_S = 420
_COMPILING = "Compiling "


@dataclass(frozen=True)
class Far:
    """One build on a machine that never was.

    Attributes:
        wall_s: all of it.
        cpu_s: of cargo's process tree and of a daemon, read when the daemon has done what the build left it.
        wire: what went through the relay.
        took: the path, by the tool's own statistics: kache's outcomes, a peer's hits, what cargo compiled itself.
        parts: seconds of its parts, where it has some.
    """

    wall_s: float
    cpu_s: float
    wire: Wire
    took: Mapping[str, int]
    parts: Mapping[str, float] = field(default_factory=dict)


Measure = Callable[[int], Far]
Demand = Callable[[Far], str]
"""Says why a build does not count; empty if it does."""
Samples = dict[str, list[Far | str]]


class Machines:
    """Makes them.

    Args:
        context: of the run.
        bucket: what they share.
    """

    def __init__(self, context: Context, bucket: Bucket) -> None:
        self._context = context
        self._bucket = bucket
        self._keys = generated_keys(context.program, context.work)

    def writer(self, label: str, **settings: str) -> KacheArm:
        """One whose uploads go straight to the server."""
        signing: dict[str, Any] = {"KACHE_REMOTE": self._bucket.url(), "KACHE_REMOTE_SIGNING_KEY": self._keys["secret"]}
        return self._context.kache(label, **{**self._bucket.env, **signing, **settings})

    def reader(self, label: str, delay_ms: int, **settings: str) -> KacheArm:
        """One that takes what the writer has signed, through a relay."""
        trusting: dict[str, Any] = {
            "KACHE_REMOTE": self._bucket.url(delay_ms),
            "KACHE_REMOTE_TRUSTED_KEYS": self._keys["public"],
            "KACHE_REMOTE_READONLY": "1",
        }
        return self._context.kache(label, **{**self._bucket.env, **trusting, **settings})

    def build(
        self, arm: KacheArm, where: Path, delay_ms: int, words: Sequence[str] = ("build",), *, is_new: bool = True
    ) -> Far:
        """A build, on a machine that never saw a toolchain unless it is not new."""
        if is_new:
            renew(arm)
        before = Counts() if is_new else arm.box.counts()
        wire = self._bucket.wire(delay_ms)
        usage = timed_build(arm, where, words=words)
        took = arm.box.counts().since(before).outcomes
        return Far(usage.wall_s, usage.cpu_s, self._bucket.wire(delay_ms).since(wire), took)


def renew(arm: KacheArm) -> None:
    """Make a machine that never was: no store, no daemon, and no toolchain it has seen."""
    arm.reset()
    shutil.rmtree(arm.box.machine_dir, ignore_errors=True)


def sent(arm: KacheArm, what: str) -> dict[str, Any]:
    """Wait until all that a machine has to send is sent; what its statistics say of the remote then."""
    deadline = time.monotonic() + _SENT_LIMIT_S
    while True:
        remote = arm.box.ask("stats", "--json")["remote"]
        assert isinstance(remote, dict)
        if not remote["waiting"] and not remote["waiting_sets"]:
            return remote
        if time.monotonic() > deadline:
            left = f"{remote['waiting']} entries and {remote['waiting_sets']} sets wait"
            raise BenchError(f"{what} is not sent", left, f"see {arm.box.cache_dir / 'daemon.log'}")
        time.sleep(0.5)


def fetched_archive(bucket: Bucket, name: str, delay_ms: int, into: Path) -> float:
    """Download a tar.zst and unpack it as it comes, as a step of CI would; in seconds."""
    into.mkdir(parents=True, exist_ok=True)
    command = 'curl --silent --show-error --fail "$1" | tar --extract --use-compress-program "zstd -d" --directory "$2"'
    argv = ["bash", "-o", "pipefail", "-c", command, "bash", bucket.signed(name, delay_ms), str(into)]
    os.sync()
    started = time.perf_counter()
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError("the archive cannot be fetched", done.stderr.strip()[-500:], "curl, tar and zstd must be here")
    return time.perf_counter() - started


def archived(bucket: Bucket, name: str, directory: Path, inside: str) -> int:
    """Put a directory into the bucket as one tar.zst; its size in bytes."""
    path = directory / f"{name}.part"
    argv = ["tar", "--create", "--use-compress-program", "zstd -3 -T0", "--file", str(path), inside]
    done = subprocess.run(argv, cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError("the archive cannot be made", done.stderr.strip()[-500:], "tar and zstd must be here")
    bucket.put(name, path.read_bytes())
    size = path.stat().st_size
    path.unlink()
    return size


def compiled_by_cargo(output: str) -> int:
    """How many packages cargo compiled itself."""
    return sum(line.lstrip().startswith(_COMPILING) for line in output.splitlines())


def take_turns(label: str, rounds: int, arms: Mapping[str, Measure], demands: Mapping[str, Demand]) -> Samples:
    """Each arm once a round, in an order that changes; a build that took another path than its arm's is rejected."""
    samples: Samples = {name: [] for name in arms}
    for index in range(rounds):
        for name in pair_order(index, list(arms)):
            found = arms[name](index)
            why = demands[name](found)
            samples[name].append(why or found)
        took = ", ".join(f"{name} {_in_words(one[-1])}" for name, one in samples.items())
        say(f"{label} {index + 1}/{rounds}: {took}")
    return samples


def _in_words(found: Far | str) -> str:
    if isinstance(found, str):
        return f"rejected: {found}"
    return f"{found.wall_s:.2f} s, {found.wire.requests} requests, {found.wire.received_bytes / 1e6:.0f} MB"


def described(samples: Sequence[Far | str]) -> dict[str, object]:
    """Medians and ranges of what counts, the path of the last, and what was rejected."""
    good = [each for each in samples if isinstance(each, Far)]
    rejected = [each for each in samples if isinstance(each, str)]
    if not good:
        return {"rejected": rejected}
    parts = {name: summary([each.parts[name] for each in good]) for name in good[-1].parts}
    return {
        "wall_s": summary([each.wall_s for each in good]),
        "cpu_s": summary([each.cpu_s for each in good]),
        "requests": summary([each.wire.requests for each in good]),
        "received_bytes": summary([each.wire.received_bytes for each in good]),
        "path": dict(good[-1].took),
        "rejected": rejected,
        **({"parts_s": parts} if parts else {}),
    }


def ratio(
    measured: Sequence[Far | str], base: Sequence[Far | str], seconds: Callable[[Far], float] = lambda far: far.wall_s
) -> dict[str, object] | None:
    """Wall time by what the base took in the same round; None where no round has both."""
    pairs = [
        (seconds(under), far.wall_s)
        for far, under in zip(measured, base, strict=True)
        if isinstance(far, Far) and isinstance(under, Far)
    ]
    return summary(paired_ratios(pairs)) if pairs else None


def within(found: dict[str, object] | None, limit: float) -> bool:
    """Whether the median of a ratio is within a limit; what was not measured is not."""
    return found is not None and float(str(found["median"])) <= limit


def median_wall(samples: Sequence[Far | str]) -> float | None:
    """Of what counts."""
    walls = [each.wall_s for each in samples if isinstance(each, Far)]
    return median(walls) if walls else None


def of_peer(arm: Arm, where: Path, bucket: Bucket, delay_ms: int, hits: Callable[[], int | None]) -> Far:
    """A peer's build on a machine that never was."""
    arm.reset()
    wire = bucket.wire(delay_ms)
    usage = timed_build(arm, where)
    return Far(usage.wall_s, usage.cpu_s, bucket.wire(delay_ms).since(wire), {"hits": hits() or 0})


def generated_keys(program: Path, work: Path) -> dict[str, str]:
    """A key to sign with, and its public half."""
    env = {**os.environ, "KACHE_CACHE_DIR": str(work / "state" / "keys"), "HOME": str(work)}
    argv = [str(program), "keys", "generate", "--secret", "--json"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError("kache makes no key", done.stderr.strip(), "see what it says")
    found: dict[str, str] = json.loads(done.stdout)["data"]
    return found
