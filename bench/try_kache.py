"""`make try`: build a real project plainly, through an empty kache, and again in a second checkout.

Everything happens in one scratch directory. The user's cargo configuration is read (mirrors, credentials) and never
written, the user's kache configuration and cache are not looked at, and the daemon that gets started is stopped.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from bench.environment import plain_env
from bench.errors import BenchError, run_main
from bench.kache_box import Counts, KacheBox, installed_kache
from bench.progress import PROGRESS_ENV, Progress
from bench.projects import Project, catalogue, checkout, local, published
from bench.table import human_bytes, seconds, table
from bench.usage import Usage, run_measured, tail

SCRATCH = Path(__file__).parent.parent / ".try"


@dataclass(frozen=True)
class Step:
    """One build of the demonstration."""

    title: str
    usage: Usage
    counts: Counts = field(default_factory=Counts)


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(
        prog="make try", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--project", default="ripgrep", help="a name of bench/projects.toml, or the path of a cargo project"
    )
    parser.add_argument("--kache", type=Path, help="the kache to try (default: the one installed beside this Python)")
    parser.add_argument("--scratch", type=Path, default=SCRATCH, help="where to work (default: %(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the checkouts and the cache afterwards")
    options = parser.parse_args()
    scratch = options.scratch.resolve()
    base = plain_env(os.environ, scratch)
    program = (options.kache or installed_kache()).absolute()
    project = (
        published(options.project, scratch, base)
        if options.project in catalogue()
        else local(Path(options.project), base)
    )
    run = scratch / "run"
    shutil.rmtree(run, ignore_errors=True)
    box = KacheBox(run / "kache", program, base)
    try:
        steps = demonstrate(project, run, box, base)
        print(report(project, steps, box))
    finally:
        box.stop()
    # Not after a failure: the log and the checkouts are then what one wants to look at.
    if not options.keep:
        shutil.rmtree(run, ignore_errors=True)
    return 0


def demonstrate(project: Project, run: Path, box: KacheBox, base: dict[str, str]) -> list[Step]:
    """Build the project in two checkouts at paths of different length; return the steps in order."""
    print(f"{project.name} {project.version}".strip() + f", in {run}", file=sys.stderr)
    first = checkout(project, run / "a", base)
    second = checkout(project, run / "second-checkout" / project.name, base)
    steps = [build("plain cargo", first, base, None)]
    shutil.rmtree(first / "target", ignore_errors=True)
    steps.append(build("cold, kache with an empty cache", first, box.env(), box))
    steps.append(build("warm, second checkout, empty target", second, box.env(), box))
    steps.append(build("again, nothing changed", second, box.env(), box))
    return steps


def build(title: str, where: Path, env: dict[str, str], box: KacheBox | None) -> Step:
    """Run one `cargo build` and show its progress.

    Raises:
        BenchError: the build failed.
    """
    before = box.counts() if box else Counts()
    cpu_before = box.daemon_cpu_s() if box else 0.0
    progress = Progress(title)
    locked = ["--locked"] if (where / "Cargo.lock").is_file() else []
    # The target directory is named, because the user's cargo configuration may point all builds at a shared one.
    argv = ["cargo", "build", *locked, "--target-dir", str(where / "target")]
    usage = run_measured(argv, env | PROGRESS_ENV, where, progress.feed)
    if usage.exit_code:
        progress.done("failed")
        raise BenchError(
            f"the build failed ({title})",
            f"cargo ended with status {usage.exit_code}:\n{tail(usage.output)}",
            "build the project with plain `cargo build` first: it must work without kache"
            if box is None
            else f"plain cargo built it, so this is kache's fault: see {box.cache_dir / 'daemon.log'}",
        )
    counts = box.counts().since(before) if box else Counts()
    cpu_s = usage.cpu_s + (box.daemon_cpu_s() - cpu_before if box else 0.0)
    progress.done(seconds(usage.wall_s))
    return Step(title, Usage(usage.wall_s, cpu_s, usage.output, 0), counts)


def report(project: Project, steps: list[Step], box: KacheBox) -> str:
    """Return the table and what it needs said."""
    plain = steps[0].usage.wall_s
    rows = [["", "wall", "CPU", "of plain", "placed", "hits", "misses", "passed", "linked", "cloned", "copied"]]
    for step in steps:
        own = step.counts
        cells = [seconds(step.usage.wall_s), seconds(step.usage.cpu_s), f"{step.usage.wall_s / plain:.0%}"]
        if step is steps[0]:
            cells += [""] * 7
        else:
            cells += [
                str(own.outcomes.get("seeded", 0)),
                str(own.hits),
                str(own.outcomes.get("miss", 0)),
                str(own.outcomes.get("passthrough", 0)),
            ]
            cells += [human_bytes(own.restore.get(f"{how}_bytes", 0)) for how in ("linked", "cloned", "copied")]
        rows.append([step.title, *cells])
    lines = [
        "",
        f"{project.name} {project.version}".strip() + ", cargo build, dev profile, CARGO_INCREMENTAL=0",
        "",
        table(rows),
        "",
    ]
    if any(step.counts.outcomes.get("seeded") for step in steps):
        lines.append("placed: put into the target directory before cargo asked; it found them fresh and called nothing")
    lines += passthrough_lines(steps)
    errors = sum(step.counts.outcomes.get("error", 0) for step in steps)
    if errors:
        lines.append(
            f"errors: {errors} (the builds went on without the cache for these; see {box.cache_dir / 'daemon.log'})"
        )
    lines.append(f"served by: {box.path_taken()}; CPU includes kache's daemon")
    return "\n".join(lines)


def passthrough_lines(steps: list[Step]) -> list[str]:
    """Say why calls were passed through to rustc, one line a build."""
    lines = []
    for step in steps:
        reasons = {reason: count for reason, count in sorted(step.counts.reasons.items()) if count}
        if reasons:
            lines.append(
                f"passed through ({step.title}): " + ", ".join(f"{count} {reason}" for reason, count in reasons.items())
            )
    return lines


if __name__ == "__main__":
    sys.exit(run_main(main))
