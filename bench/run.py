"""`make bench`: measure kache against plain cargo, against the do-nothing floor, and against what peers are installed.

Phases: cold, observe, edit, warm, fresh, hit, disk, index, memory, big-store, planner, remote,
upload, prefetch (`--only cold,warm` chooses). All
arms of a phase take turns in one run on one machine. The result is a JSON document with the machine's facts, and an SVG
of cold and warm per tool.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sqlite3
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from bench import machine, peers, picture
from bench.context import Context, say
from bench.environment import plain_env
from bench.errors import BenchError, run_main
from bench.kache_box import installed_kache
from bench.phases import (
    big_store,
    cold,
    disk,
    edit,
    fresh,
    hit,
    index,
    memory,
    observe,
    planner,
    prefetch,
    remote,
    upload,
    warm,
)
from bench.projects import catalogue, catalogue_entry
from bench.report import summary_lines

HERE = Path(__file__).parent
Phase = Callable[[Context, str], dict[str, object]]
PHASES: dict[str, Phase] = {
    "hit": hit.run,
    "warm": warm.run,
    "fresh": fresh.run,
    "disk": disk.run,
    "index": index.run,
    "cold": cold.run,
    "edit": edit.run,
    "observe": observe.run,
    "memory": memory.run,
    "big-store": big_store.run,
    "planner": planner.run,
    "remote": remote.run,
    "upload": upload.run,
    "prefetch": prefetch.run,
}
# What is measured on one project only: the first of those chosen, or no project at all.
ONCE = {"edit", "hit", "memory", "big-store", "planner"}
# What is asked for on projects of so many units alone.
LARGE, LARGE_UNITS = {"remote", "upload", "prefetch"}, 200


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PHASES), help="phases, comma separated (default: all)")
    parser.add_argument(
        "--project", action="append", help="a name of bench/projects.toml, repeatable (default: ripgrep and mdbook)"
    )
    parser.add_argument("--pairs", type=int, default=11, help="paired cold rounds (default: %(default)s)")
    parser.add_argument(
        "--rounds", type=int, default=5, help="rounds of warm builds and of peers (default: %(default)s)"
    )
    parser.add_argument("--loops", type=int, default=200, help="launcher calls timed per unit (default: %(default)s)")
    parser.add_argument("--units", type=int, default=5000, help="units of the memory phase (default: %(default)s)")
    parser.add_argument("--entries", type=int, default=100_000, help="entries of the big store (default: %(default)s)")
    parser.add_argument(
        "--far-rounds", type=int, default=3, help="rounds of the phases with a bucket (default: %(default)s)"
    )
    parser.add_argument("--no-peers", action="store_true", help="leave the installed peers out")
    parser.add_argument(
        "--install-peers", action="store_true", help="install the peers into the work directory and end"
    )
    parser.add_argument("--kache", type=Path, help="the kache to measure (default: the one beside this Python)")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="scratch directory (default: %(default)s)")
    parser.add_argument(
        "--results", type=Path, default=HERE / "results", help="where results go (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> int:
    """Run the chosen phases and write the result."""
    options = parse()
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    base = plain_env(os.environ, work)
    if options.install_peers:
        return peers.main(work, base)
    phases = _chosen(options.only.split(","), list(PHASES), "phase")
    projects = _chosen(options.project or ["ripgrep", "mdbook"], list(catalogue()), "project")
    program = (options.kache or installed_kache()).absolute()
    present, absent = peers.arms(work, base)
    context = Context(
        work=work,
        program=program,
        base_env=base,
        pairs=options.pairs,
        rounds=options.rounds,
        projects=projects,
        loops=options.loops,
        units=options.units,
        entries=options.entries,
        far_rounds=options.far_rounds,
        peers=[] if options.no_peers else present,
    )
    result: dict[str, object] = {
        "schema": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.facts(work, base, program),
        "settings": {
            "pairs": context.pairs,
            "rounds": context.rounds,
            "loops": context.loops,
            "far_rounds": context.far_rounds,
            "projects": projects,
        },
        "peers": {"measured": [arm.name for arm in context.peers], "absent": absent},
    }
    name = (
        f"{result['date']}".replace(":", "").replace("+0000", "Z")
        + f"-{os.cpu_count()}cores-{machine.filesystem(work)}"
    )
    figures: dict[str, dict[str, dict[str, object]]] = {}
    for phase in phases:
        for project in _projects_of(phase, projects):
            say(f"phase {phase}, {project}")
            figures.setdefault(phase, {})[project] = _run_phase(PHASES[phase], context, project)
            # After every phase: an hour of figures must not hang on the last one.
            _write(options.results, name, result | {"figures": figures})
    print("\n".join(summary_lines(figures, absent)))
    print(f"result: {options.results / name}.json and .svg")
    return 0


def _run_phase(phase: Phase, context: Context, project: str) -> dict[str, object]:
    """Run one phase; a failure is a result too, and the other phases still run."""
    try:
        return phase(context, project)
    except BenchError as error:
        say(f"FAILED: {error}: {error.why}")
        return {"failed": str(error), "why": error.why, "ok": False}
    except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}", "ok": False}
    finally:
        context.stop_all()


def _projects_of(phase: str, projects: list[str]) -> list[str]:
    """On which of the projects chosen a phase runs; on the first of them if none is right for it."""
    if phase in LARGE:
        large = [name for name in projects if int(str(catalogue_entry(name).get("units", 0))) >= LARGE_UNITS]
        return large or projects[:1]
    return projects[:1] if phase in ONCE else projects


def _chosen(wanted: list[str], known: list[str], what: str) -> list[str]:
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise BenchError(
            f"unknown {what} {unknown[0]!r}", f"known are: {', '.join(known)}", f"choose among these {what}s"
        )
    return [name for name in wanted if name in known]


def _write(results: Path, name: str, result: dict[str, object]) -> None:
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{name}.json").write_text(json.dumps(result, indent=1) + "\n")
    figures = result["figures"]
    assert isinstance(figures, dict)
    groups = picture.groups_of(figures)
    if groups:
        (results / f"{name}.svg").write_text(picture.draw("cargo build, dev profile, wall time", groups))


if __name__ == "__main__":
    sys.exit(run_main(main))
