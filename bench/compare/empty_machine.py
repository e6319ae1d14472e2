"""An empty machine and a bucket: kache, or a saved target directory, from a MinIO with 0 and 50 ms a request."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from bench.arms import KacheArm
from bench.bucket import Bucket, serving
from bench.compare.contestants import ArchiveContestant, Contestant, Sample
from bench.compare.rounds import Rounds
from bench.far import generated_keys

DELAYS_MS = (0, 50)
BUILD = ("build",)


class RemoteContestant(Contestant):
    """kache with a remote: its store is emptied before each build, as on a machine that never was.

    Args:
        arm: with the remote in its environment.
    """

    def __init__(self, arm: KacheArm) -> None:
        arm.name = "kache-reader"
        super().__init__(arm, lambda: arm.box.counts().hits + arm.box.counts().outcomes.get("seeded", 0))
        self._box = arm.box

    def measure(self, where: Path, words: object) -> Sample:
        """Build from the bucket alone."""
        self._box.reset()
        return self._built(where, BUILD)


class BucketArchive(ArchiveContestant):
    """A saved target directory in the bucket: fetched, unpacked, built."""

    bucket: Bucket
    delay_ms = 0

    def measure(self, where: Path, words: object) -> Sample:
        """Fetch first."""
        started = time.perf_counter()
        self._file(BUILD).write_bytes(self.bucket.get("target.tar.zst", self.delay_ms))
        fetched_s = time.perf_counter() - started
        sample = super().measure(where, BUILD)
        return Sample(sample.wall_s + fetched_s, sample.cpu_s, None)

    def keep(self) -> None:
        """Put the archive into the bucket."""
        self.bucket.put("target.tar.zst", self._file(BUILD).read_bytes())


def run(rounds: Rounds) -> dict[str, object]:
    """Measure one project."""
    context = rounds.context
    with serving(context.work / "minio") as bucket:
        keys = generated_keys(context.program, context.work)
        env = bucket.env | {"KACHE_REMOTE": bucket.url(0), "KACHE_REMOTE_SIGNING_KEY": keys["secret"]}
        writer = context.kache("writer", daemon=True, **env)
        where = rounds.checkout("a")
        shutil.rmtree(where / "target", ignore_errors=True)
        Contestant(writer, lambda: None).fill(where, BUILD)
        pushed = writer.box.ask("sync", "--push", "--json")
        writer.stop()
        archive = BucketArchive(context) if shutil.which("zstd") else None
        if archive is not None:
            archive.bucket = bucket
            archive.reset()
            shutil.rmtree(where / "target")
            archive.fill(where, BUILD)
            archive.keep()
        result: dict[str, object] = {"pushed": pushed}
        for delay_ms in DELAYS_MS:
            reading = bucket.env | {"KACHE_REMOTE": bucket.url(delay_ms), "KACHE_REMOTE_TRUSTED_KEYS": keys["public"]}
            among: list[Contestant] = [RemoteContestant(context.kache(f"reader-{delay_ms}", daemon=True, **reading))]
            if archive is not None:
                archive.delay_ms = delay_ms
                among.append(archive)
            label = f"empty machine, {delay_ms} ms"
            result[f"{delay_ms}_ms"] = rounds.take_turns(label, rounds.fresh(f"empty-{delay_ms}", BUILD), among=among)
        return result
