"""Upload: what a remote costs a build that fills it, and what one costs that hangs.

Cold builds with and without uploads, in turns. Server and builds share this machine, so what the server's CPU took from
a build is subtracted from its wall time, as if it had been spread over all cores; the CPU of the build itself and of
kache's daemon is compared as it is. The cost of a bucket that never answers is that of a small workspace's cold build.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from bench.arms import KacheArm
from bench.bucket import Bucket, serving
from bench.context import Context, clean, say
from bench.errors import BenchError
from bench.far import Machines
from bench.stats import median, pair_order, paired_ratios, summary
from bench.usage import run_measured, tail

LIMIT = 1.03
HANG_LIMIT_S = 1.0
HANG_MS = 600_000
CRATES = 8


def run(context: Context, name: str) -> dict[str, object]:
    """Measure one project; return its figures."""
    with serving(context.work / "minio", (HANG_MS,)) as bucket:
        machines = Machines(context, bucket)
        found = _uploads(context, name, machines, bucket)
        context.stop_all()
        hanging = _hanging(context, machines)
    return {**found, "hanging": hanging, "ok": bool(found["ok"]) and bool(hanging["ok"])}


def _uploads(context: Context, name: str, machines: Machines, bucket: Bucket) -> dict[str, object]:
    where = context.checkout(context.project(name), "a")
    arms = {"without": context.kache("without"), "with": machines.writer("with")}
    runs: list[dict[str, dict[str, float]]] = []
    requests: dict[str, object] = {}
    for index in range(context.far_rounds):
        found = {}
        for label in pair_order(index, list(arms)):
            clean(where)
            arms[label].reset()
            # Another prefix each time: nothing is there that was sent before.
            arms[label].box.more_env = {"KACHE_REMOTE": bucket.url(None, f"round-{index}")} if label == "with" else {}
            found[label] = _cold(arms[label], where, bucket)
            if label == "with":
                remote = arms[label].box.ask("stats", "--json")["remote"]
                assert isinstance(remote, dict)
                requests = {key: remote[key] for key in ("puts", "put_requests", "sent_bytes", "waiting")}
        runs.append(found)
        say(
            f"upload {name} {index + 1}/{context.far_rounds}: "
            + ", ".join(f"{label} {one['wall']:.2f} s, CPU {one['cpu']:.2f} s" for label, one in found.items())
            + f", server's CPU {found['with']['server']:.2f} s"
        )
    path = arms["with"].box.path_taken()
    if not requests.get("sent_bytes"):
        raise BenchError("nothing was sent", f"statistics say {requests}", "see daemon.log of the arm")
    pairs = [(each["without"], each["with"]) for each in runs]
    cpu = paired_ratios([(base["cpu"], ours["cpu"]) for base, ours in pairs])
    adjusted = paired_ratios([(base["wall"], ours["wall_less_server"]) for base, ours in pairs])
    return {
        "path": path,
        "without": {key: summary([each["without"][key] for each in runs]) for key in runs[0]["without"]},
        "with": {key: summary([each["with"][key] for each in runs]) for key in runs[0]["with"]},
        "wall_ratio": summary(paired_ratios([(base["wall"], ours["wall"]) for base, ours in pairs])),
        "wall_less_server_ratio": summary(adjusted),
        "cpu_ratio": summary(cpu),
        "sent": requests,
        "limit": LIMIT,
        "ok": median(adjusted) <= LIMIT and median(cpu) <= LIMIT,
    }


def _cold(arm: KacheArm, where: Path, bucket: Bucket) -> dict[str, float]:
    """A build from nothing; of daemon and server what they did until cargo ended counts."""
    os.sync()
    arm.box.start()
    daemon_s, server_s = arm.daemon_cpu_s(), bucket.server_cpu_s()
    usage = run_measured([*arm.cargo, "build", "--locked", "--offline"], arm.env(where), where)
    if usage.exit_code:
        raise BenchError(f"the build failed ({arm.name})", tail(usage.output), "it must build; see above")
    daemon_s, server_s = arm.daemon_cpu_s() - daemon_s, bucket.server_cpu_s() - server_s
    arm.settle()
    return {
        "wall": usage.wall_s,
        "cpu": usage.cpu_s + daemon_s,
        "daemon": daemon_s,
        "server": server_s,
        "wall_less_server": usage.wall_s - server_s / (os.cpu_count() or 1),
    }


def _hanging(context: Context, machines: Machines) -> dict[str, object]:
    """The same small workspace without a remote and with one that takes requests and never answers."""
    arms = {"without": context.kache("no-remote"), "hanging": machines.reader("hanging", HANG_MS)}
    walls: dict[str, list[float]] = {label: [] for label in arms}
    for index in range(max(context.far_rounds, 3)):
        for label in pair_order(index, list(arms)):
            where = _chain(context.work / "checkouts" / f"chain-{label}")
            arms[label].reset()
            arms[label].box.start()
            usage = run_measured(["cargo", "build", "--offline"], arms[label].env(where), where)
            if usage.exit_code:
                raise BenchError("the build failed beside a bucket that hangs", tail(usage.output), "it never may")
            walls[label].append(usage.wall_s)
            shutil.rmtree(where)
    counts = arms["hanging"].box.ask("stats", "--json")["remote"]
    assert isinstance(counts, dict)
    costs = [slow - quick for quick, slow in zip(walls["without"], walls["hanging"], strict=True)]
    return {
        "cost_s": summary(costs),
        "wall_s": {label: summary(found) for label, found in walls.items()},
        "gets": counts["gets"],
        "waited_ms": counts["waited_ms"],
        "limit_s": HANG_LIMIT_S,
        "ok": median(costs) <= HANG_LIMIT_S and counts["gets"]["failed"] > 0,
    }


def _chain(where: Path) -> Path:
    """A workspace of crates each of which needs the one before."""
    shutil.rmtree(where, ignore_errors=True)
    for at in range(CRATES):
        crate = where / f"c{at}"
        (crate / "src").mkdir(parents=True)
        below = f'c{at - 1} = {{ path = "../c{at - 1}" }}\n' if at else ""
        text = f'[package]\nname = "c{at}"\nversion = "0.1.0"\nedition = "2021"\n[dependencies]\n{below}'
        (crate / "Cargo.toml").write_text(text)
        body = f"c{at - 1}::value() + 1" if at else "1"
        (crate / "src/lib.rs").write_text(f"pub fn value() -> u32 {{ {body} }}\n")
    (where / "Cargo.toml").write_text('[workspace]\nresolver = "2"\nmembers = ["c*"]\n')
    return where
