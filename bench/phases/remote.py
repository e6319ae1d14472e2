"""Remote: a new machine and a bucket, with 0, 20 and 50 ms added to each request.

kache with warm start, and by hits alone; beside it one tar.zst of the same target directory, downloaded, unpacked and
built, from the same server through the same relay; and sccache with the same bucket, where it is installed.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from bench import peers
from bench.arms import KacheArm
from bench.bucket import NAME, Bucket, serving
from bench.compare.contestants import hits_of
from bench.context import Context, say, timed_build
from bench.far import (
    Demand,
    Far,
    Machines,
    Measure,
    Samples,
    archived,
    compiled_by_cargo,
    described,
    fetched_archive,
    median_wall,
    of_peer,
    ratio,
    sent,
    take_turns,
    within,
)

DELAYS_MS = (0, 20, 50)
ARCHIVE_LIMIT, PEER_LIMIT, DELAY_LIMIT = 1.3, 0.5, 1.5
ARCHIVE = "target.tar.zst"
MEMBERS = 8
"""Units that a fresh checkout may have to compile, however all else comes: those of the project itself."""


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    with serving(context.work / "minio", DELAYS_MS) as bucket:
        machines = Machines(context, bucket)
        filled = _fill(context, name, machines, bucket)
        peer = _peer(context, name, bucket)
        by_delay: dict[int, Samples] = {}
        for delay_ms in DELAYS_MS:
            arms = _arms(context, name, machines, bucket, delay_ms)
            if peer is not None:
                arms["sccache"] = _of_sccache(context, name, bucket, delay_ms)
            demands: dict[str, Demand] = {
                "kache": lambda far: "" if far.took.get("seeded") else "nothing was placed by warm start",
                "kache-hits": lambda far: (
                    "" if _hits(far) > far.took.get("miss", 0) else "it compiled more than it hit"
                ),
                "archive": lambda far: "" if far.took["compiled"] <= MEMBERS else "cargo found the target stale",
                "sccache": lambda far: "" if far.took["hits"] else "its own statistics count no hit",
            }
            label = f"remote {name}, {delay_ms} ms"
            by_delay[delay_ms] = take_turns(label, context.far_rounds, arms, demands)
            context.stop_all()
    return {"path": "daemon", "filled": filled, "peer": peer, **_verdict(by_delay)}


def _fill(context: Context, name: str, machines: Machines, bucket: Bucket) -> dict[str, object]:
    """Build once, send everything, and save the target directory that was left."""
    say(f"remote {name}: filling the bucket")
    writer = machines.writer("writer", KACHE_WARM_START="1")
    where = context.checkout(context.project(name), "writer")
    usage = timed_build(writer, where)
    remote = sent(writer, f"what {name} was built to")
    writer.stop()
    size = archived(bucket, ARCHIVE, where, "target")
    shutil.rmtree(where.parent)
    return {"cold_wall_s": round(usage.wall_s, 3), "archive_bytes": size, "sent_bytes": remote["sent_bytes"]}


def _arms(context: Context, name: str, machines: Machines, bucket: Bucket, delay_ms: int) -> dict[str, Measure]:
    warm = machines.reader(f"reader-{delay_ms}", delay_ms, KACHE_WARM_START="1")
    hits = machines.reader(f"reader-hits-{delay_ms}", delay_ms, KACHE_WARM_START="0")

    def by_kache(arm: KacheArm) -> Measure:
        return lambda index: _in_fresh(
            context, name, f"{arm.name}-{index}", lambda where: machines.build(arm, where, delay_ms)
        )

    def by_archive(index: int) -> Far:
        return _in_fresh(
            context, name, f"archive-{delay_ms}-{index}", lambda where: _unpacked(context, bucket, delay_ms, where)
        )

    return {"kache": by_kache(warm), "kache-hits": by_kache(hits), "archive": by_archive}


def _unpacked(context: Context, bucket: Bucket, delay_ms: int, where: Path) -> Far:
    wire = bucket.wire(delay_ms)
    unpack_s = fetched_archive(bucket, ARCHIVE, delay_ms, where)
    usage = timed_build(context.plain(), where)
    took = {"compiled": compiled_by_cargo(usage.output)}
    parts = {"unpack": unpack_s, "build": usage.wall_s}
    return Far(unpack_s + usage.wall_s, usage.cpu_s, bucket.wire(delay_ms).since(wire), took, parts)


def _peer(context: Context, name: str, bucket: Bucket) -> str | None:
    """Fill the bucket with what sccache makes; its label, None where it is not installed."""
    if not context.peers or not peers.is_installed("sccache", context.work):
        return None
    say(f"remote {name}: filling the bucket with sccache")
    arm = peers.with_bucket(context.work, context.base_env, _sccache_env(bucket, None))
    arm.reset()
    _in_fresh(context, name, "peer-writer", lambda where: of_peer(arm, where, bucket, 0, lambda: None))
    arm.stop()  # its server sends what is left before it ends
    return arm.name


def _of_sccache(context: Context, name: str, bucket: Bucket, delay_ms: int) -> Measure:
    arm = peers.with_bucket(context.work, context.base_env, _sccache_env(bucket, delay_ms))
    context.made.append(arm)
    hits = hits_of(context, arm)
    return lambda index: _in_fresh(
        context, name, f"peer-{delay_ms}-{index}", lambda where: of_peer(arm, where, bucket, delay_ms, hits)
    )


def _sccache_env(bucket: Bucket, delay_ms: int | None) -> dict[str, str]:
    return {
        **bucket.env,
        "SCCACHE_BUCKET": NAME,
        "SCCACHE_ENDPOINT": bucket.endpoint(delay_ms),
        "SCCACHE_REGION": "us-east-1",
        "SCCACHE_S3_USE_SSL": "false",
        "SCCACHE_S3_KEY_PREFIX": "sccache",
    }


def _in_fresh(context: Context, name: str, label: str, build: Callable[[Path], Far]) -> Far:
    """A build in a checkout that never was."""
    where = context.checkout(context.project(name), label)
    try:
        return build(where)
    finally:
        shutil.rmtree(where.parent)


def _hits(far: Far) -> int:
    return sum(far.took.get(kind, 0) for kind in ("local_hit", "prefetch_hit", "remote_hit"))


def _verdict(by_delay: dict[int, Samples]) -> dict[str, object]:
    """The ratios that were asked for: each within a round, but for those between delays."""
    delays: dict[str, object] = {}
    is_ok = True
    for delay_ms, samples in by_delay.items():
        ours = samples["kache"]
        to_archive = ratio(ours, samples["archive"], lambda far: far.parts["unpack"])
        to_peer = ratio(ours, samples["sccache"]) if "sccache" in samples else None
        is_ok = (
            is_ok and within(to_archive, ARCHIVE_LIMIT) and ("sccache" not in samples or within(to_peer, PEER_LIMIT))
        )
        delays[f"{delay_ms}_ms"] = {
            "arms": {arm: described(found) for arm, found in samples.items()},
            "to_unpacking": to_archive,
            "to_unpacking_and_building": ratio(ours, samples["archive"]),
            "hits_to_unpacking": ratio(samples["kache-hits"], samples["archive"], lambda far: far.parts["unpack"]),
            "to_peer": to_peer,
        }
    walls = {delay_ms: median_wall(samples["kache"]) for delay_ms, samples in by_delay.items()}
    first, last = walls[DELAYS_MS[0]], walls[DELAYS_MS[-1]]
    to_near = last / first if first and last else None
    return {
        "delays": delays,
        "far_to_near": to_near and round(to_near, 3),
        "limits": {"to_unpacking": ARCHIVE_LIMIT, "to_peer": PEER_LIMIT, "far_to_near": DELAY_LIMIT},
        "ok": is_ok and to_near is not None and to_near <= DELAY_LIMIT,
    }
