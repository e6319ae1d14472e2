"""Prefetch: 50 ms a request, an empty machine, and a bucket with what two earlier states of a project were built to.

The same build with a prefetch, with warm start too, with one object per miss, and with everything fetched beforehand,
beside the download of the same bytes as one archive; the build after a dependency was changed, planned or with all the
bucket has fetched first; then three kinds of next commits, of which the bytes count alone. What recording costs is the
CPU time the daemon says it took, by that of a cold build.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
import zlib
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.arms import KacheArm
from bench.bucket import Bucket, serving
from bench.context import Context, say, timed_build
from bench.errors import BenchError
from bench.far import (
    Demand,
    Far,
    Machines,
    Measure,
    archived,
    described,
    fetched_archive,
    ratio,
    renew,
    sent,
    take_turns,
    within,
)
from bench.projects import cargo, catalogue_entry, version_of

DELAY_MS = 50
SINGLE_LIMIT, SUM_LIMIT, BULK_LIMIT = 0.6, 1.25, 0.8
PRECISION, RECALL, RECORDING_LIMIT = 0.9, 0.95, 0.01
ARCHIVE = "blobs.tar.zst"
FLIPPED = ("build", "--no-default-features")
_BROUGHT = "prefetch_hit"
_UNITS = 5
"""Place of the units in a record."""
_HITS = ("local_hit", "prefetch_hit", "remote_hit")


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    with serving(context.work / "minio", (DELAY_MS,)) as bucket:
        phase = _Phase(context, name, Machines(context, bucket), bucket)
        recording = phase.fill()
        same, beforehand = phase.same()
        bumped = phase.bumped()
        commits = {
            "leaf_edit": phase.commit("leaf-edit", phase.edit),
            "dependency_bump": phase.commit("dependency-bump", phase.bump),
            "feature_flip": phase.commit("feature-flip", lambda _: None, FLIPPED),
        }
    to_single = ratio(same["prefetch"], same["one-by-one"])
    to_sum = ratio(same["prefetch"], same["beforehand"])
    to_bulk = ratio(bumped["planned"], bumped["bulk"])
    is_ok = within(to_single, SINGLE_LIMIT) and within(to_sum, SUM_LIMIT) and within(to_bulk, BULK_LIMIT)
    return {
        "path": "daemon",
        "archive_bytes": beforehand,
        "same": {arm: described(found) for arm, found in same.items()},
        "to_one_by_one": to_single,
        "to_sum": to_sum,
        "bumped": {arm: described(found) for arm, found in bumped.items()},
        "to_bulk": to_bulk,
        "commits": commits,
        "recording": recording,
        "limits": {
            "to_one_by_one": SINGLE_LIMIT,
            "to_sum": SUM_LIMIT,
            "to_bulk": BULK_LIMIT,
            "precision": PRECISION,
            "recall": RECALL,
            "recording": RECORDING_LIMIT,
        },
        "ok": is_ok and recording["share"] < RECORDING_LIMIT and all(each["ok"] for each in commits.values()),
    }


class _Phase:
    """One project and its bucket.

    Args:
        context: of the run.
        name: of the project.
        machines: makes readers and the writer.
        bucket: what they share.
    """

    def __init__(self, context: Context, name: str, machines: Machines, bucket: Bucket) -> None:
        self._context = context
        self._name = name
        self._entry: dict[str, Any] = catalogue_entry(name)
        self._machines = machines
        self._bucket = bucket
        self._there: set[bytes] = set()

    def fill(self) -> dict[str, Any]:
        """Build two earlier states of the project, and send what they were built to; what recording cost."""
        say(f"prefetch {self._name}: filling the bucket")
        writer = self._machines.writer("writer", KACHE_WARM_START="1")
        writer.box.start()
        where = self._checkout("writer-first")
        usage = timed_build(writer, where)
        spent_s = writer.box.status().get("recording_s")
        shutil.rmtree(where.parent)
        earlier = version_of(self._name, str(self._entry["before"]), self._context.work, self._context.base_env)
        where = self._context.checkout(earlier, "writer-second")
        timed_build(writer, where)
        shutil.rmtree(where.parent)
        sent(writer, f"what {self._name} was built to")
        self._there = set(_keys(writer))
        writer.stop()
        assert isinstance(spent_s, float), "the daemon says what recording took"
        return {"recording_s": round(spent_s, 4), "build_cpu_s": usage.cpu_s, "share": spent_s / usage.cpu_s}

    def same(self) -> tuple[dict[str, list[Far | str]], int]:
        """The build that the bucket knows, on an empty machine, in four ways; and the size of the archive."""
        readers = {
            "prefetch": self._reader("prefetch"),
            "with-warm-start": self._reader("with-warm-start", KACHE_WARM_START="1"),
            "one-by-one": self._reader("one-by-one", KACHE_PREFETCH="0"),
        }
        full = self._reader("beforehand")
        size = self._archive_of_all(full)
        arms: dict[str, Measure] = {label: self._in_fresh(arm, self._build) for label, arm in readers.items()}
        arms["beforehand"] = self._in_fresh(full, self._sum)
        demands: dict[str, Demand] = {
            "prefetch": lambda far: "" if far.took.get(_BROUGHT, 0) > _others(far, _BROUGHT) else "few came beforehand",
            "with-warm-start": lambda far: "" if far.took.get("seeded") else "nothing was placed by warm start",
            "one-by-one": lambda far: "" if far.took.get("remote_hit", 0) > _others(far, "remote_hit") else "few came",
            "beforehand": lambda far: "" if not far.took.get("remote_hit") else "not all was there beforehand",
        }
        return take_turns(f"prefetch {self._name}", self._context.far_rounds, arms, demands), size

    def bumped(self) -> dict[str, list[Far | str]]:
        """The build after a dependency was changed: planned, or after a fetch of all there is."""
        arms: dict[str, Measure] = {
            "planned": self._in_fresh(self._reader("planned"), self._build, self.bump),
            "bulk": self._in_fresh(self._reader("bulk", KACHE_PREFETCH="0"), self._pulled, self.bump),
        }
        demands: dict[str, Demand] = {
            "planned": lambda far: "" if far.took.get(_BROUGHT) else "nothing came beforehand",
            "bulk": lambda far: "" if far.took.get("local_hit") else "nothing was there",
        }
        return take_turns(f"prefetch {self._name}, bumped", self._context.far_rounds, arms, demands)

    def commit(self, label: str, change: Callable[[Path], None], words: tuple[str, ...] = ("build",)) -> dict[str, Any]:
        """One next commit on an empty machine: bytes used by bytes fetched, and by bytes that could have been."""
        arm = self._reader(label)
        where = self._checkout(label)
        try:
            change(where)
            self._machines.build(arm, where, DELAY_MS, words)
        finally:
            shutil.rmtree(where.parent)
        stats: dict[str, Any] = arm.box.ask("stats", "--json")
        plans, remote = stats["plans"], stats["remote"]
        needed = [unit for unit in _units(arm) if unit.key in self._there]
        brought = [unit for unit in needed if unit.outcome == _BROUGHT]
        arm.stop()
        precision = 1 - remote["unused_bytes"] / max(remote["received_bytes"], 1)
        recall = sum(unit.size_bytes for unit in brought) / max(sum(unit.size_bytes for unit in needed), 1)
        found = {
            "precision": round(precision, 4),
            "recall": round(recall, 4),
            "received_bytes": remote["received_bytes"],
            "unused": [f"{each['crate_name']} {each['bytes']}" for each in remote["unused"]],
            "not_brought": sorted({unit.crate_name for unit in needed if unit.outcome != _BROUGHT}),
            "plans": plans,
            "outcomes": stats["outcomes"],
            "ok": precision >= PRECISION and recall >= RECALL,
        }
        say(f"prefetch {self._name}, {label}: precision {precision:.3f}, recall {recall:.3f}, {stats['outcomes']}")
        return found

    def edit(self, where: Path) -> None:
        """One line more in a file of the project itself."""
        path = where / self._entry["edit"]["root"]
        path.write_text(path.read_text() + "\n#[allow(dead_code)]\nfn one_more() -> u32 { 7 }\n")

    def bump(self, where: Path) -> None:
        """Another version of one dependency."""
        crate, version = self._entry["bump"]["crate"], self._entry["bump"]["to"]
        for words in (["update", "--package", crate, "--precise", version], ["fetch", "--locked"]):
            done = cargo(words, self._context.base_env, where)
            if done.returncode:
                raise BenchError(f"{crate} {version} cannot be had", done.stderr.strip()[-500:], "see what cargo says")

    def _build(self, arm: KacheArm, where: Path) -> Far:
        return self._machines.build(arm, where, DELAY_MS)

    def _pulled(self, arm: KacheArm, where: Path) -> Far:
        """Fetch all there is, then build."""
        renew(arm)
        wire, started = self._bucket.wire(DELAY_MS), time.perf_counter()
        _kache(arm, where, "sync", "--pull")
        pull_s = time.perf_counter() - started
        found = self._machines.build(arm, where, DELAY_MS, is_new=False)
        parts = {"pull": pull_s, "build": found.wall_s}
        return Far(pull_s + found.wall_s, found.cpu_s, self._bucket.wire(DELAY_MS).since(wire), found.took, parts)

    def _sum(self, arm: KacheArm, where: Path) -> Far:
        """The same bytes as one archive, downloaded and unpacked; then the build with everything fetched beforehand."""
        wire, into = self._bucket.wire(DELAY_MS), self._context.work / "unpacked"
        unpack_s = fetched_archive(self._bucket, ARCHIVE, DELAY_MS, into)
        shutil.rmtree(into)
        found = self._machines.build(arm, where, DELAY_MS, is_new=False)
        parts = {"unpack": unpack_s, "build": found.wall_s}
        return Far(unpack_s + found.wall_s, found.cpu_s, self._bucket.wire(DELAY_MS).since(wire), found.took, parts)

    def _archive_of_all(self, arm: KacheArm) -> int:
        """Fetch all a build needs into a store that stays, and put its blobs into the bucket as one archive."""
        renew(arm)
        where = self._checkout("beforehand")
        _kache(arm, where, "prefetch", "--", "build")
        timed_build(arm, where)  # what no plan has named comes now
        shutil.rmtree(where.parent)
        return archived(self._bucket, ARCHIVE, arm.box.cache_dir / "store", "blobs")

    def _reader(self, label: str, **settings: str) -> KacheArm:
        return self._machines.reader(label, DELAY_MS, **{"KACHE_WARM_START": "0", **settings})

    def _checkout(self, label: str) -> Path:
        return self._context.checkout(self._context.project(self._name), label)

    def _in_fresh(
        self, arm: KacheArm, build: Callable[[KacheArm, Path], Far], change: Callable[[Path], None] | None = None
    ) -> Measure:
        """A build in a checkout that never was."""

        def measure(index: int) -> Far:
            where = self._checkout(f"{arm.name}-{index}")
            try:
                if change is not None:
                    change(where)
                return build(arm, where)
            finally:
                arm.stop()
                shutil.rmtree(where.parent)

        return measure


def _others(far: Far, kind: str) -> int:
    return sum(far.took.get(each, 0) for each in (*_HITS, "miss") if each != kind)


def _kache(arm: KacheArm, where: Path, *words: str) -> None:
    argv = [str(arm.box.program), *words]
    done = subprocess.run(argv, env=arm.env(where), cwd=where, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"`kache {' '.join(words)}` failed", done.stderr.strip()[-500:], "see what it says")


def _rows(arm: KacheArm, query: str) -> list[Any]:
    path = arm.box.cache_dir / "store" / "index.db"
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(query).fetchall()


def _keys(arm: KacheArm) -> list[bytes]:
    return [row[0] for row in _rows(arm, "SELECT key FROM entries")]


class _Unit(NamedTuple):
    """What a record says of a unit, as far as it counts here."""

    key: bytes
    crate_name: str
    size_bytes: int
    outcome: str


def _units(arm: KacheArm) -> list[_Unit]:
    """What the last build used, by its record (zlib, msgpack, structs as arrays); written when the build has ended."""
    for _ in range(100):
        rows = _rows(arm, "SELECT body FROM build_records ORDER BY at_ns DESC LIMIT 1")
        if rows:
            units = msgspec.msgpack.decode(zlib.decompress(rows[0][0]))[_UNITS]
            return [_Unit(each[0], each[1], each[8], each[10]) for each in units]
        time.sleep(0.1)
    raise BenchError("the build left no record", "the daemon writes it when cargo has ended", "see daemon.log")
