"""`make bench-peers`: everybody on projects of different kinds, taking turns. Hours on a quiet machine.

Phases: cold, same, other (build, check, test --no-run, release), daemon, six, memory, disk, next, edit, empty. The
result is a JSON document with the machine's facts; a build that did not use its store is rejected and counted.
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
from pathlib import Path

from bench import machine, peers
from bench.compare.contestants import contestants
from bench.compare.phases import FILLED, PHASES, fill
from bench.compare.rounds import Rounds
from bench.context import Context, say
from bench.environment import plain_env
from bench.errors import BenchError, run_main
from bench.kache_box import installed_kache
from bench.projects import catalogue

HERE = Path(__file__).resolve().parent.parent


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make bench-peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join(PHASES), help="phases, comma separated (default: all)")
    parser.add_argument("--project", action="append", help="a name of bench/projects.toml, repeatable (default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each phase (default: %(default)s)")
    parser.add_argument("--no-peers", action="store_true", help="leave the installed peers out")
    parser.add_argument("--work", type=Path, default=HERE / "work", help="scratch directory (default: %(default)s)")
    parser.add_argument(
        "--results", type=Path, default=HERE / "results", help="where results go (default: %(default)s)"
    )
    return parser.parse_args()


def main() -> int:
    """Run the chosen phases on the chosen projects and write the result after each."""
    options = parse()
    phases = [name for name in PHASES if name in options.only.split(",")]
    unknown = set(options.only.split(",")) - set(PHASES)
    projects = options.project or list(catalogue())
    unknown |= set(projects) - set(catalogue())
    if unknown:
        what = f"unknown: {', '.join(sorted(unknown))}"
        raise BenchError(
            what, f"phases are {', '.join(PHASES)}; projects {', '.join(catalogue())}", "choose among them"
        )
    work = options.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    base = plain_env(os.environ, work)
    present = [] if options.no_peers else peers.arms(work, base, seeding=True)[0]
    context = Context(
        work=work, program=installed_kache().absolute(), base_env=base, rounds=options.rounds, peers=present
    )
    everybody, absent = contestants(context)
    day = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    result: dict[str, object] = {
        "schema": 1,
        "kind": "compare",
        "date": day,
        "machine": machine.facts(work, base, context.program),
        "settings": {"rounds": context.rounds, "projects": projects},
        "contestants": {"measured": [each.name for each in everybody], "absent": absent},
    }
    name = day.replace(":", "").replace("+0000", "Z") + f"-{os.cpu_count()}cores-{machine.filesystem(work)}-compare"
    figures: dict[str, dict[str, object]] = {}
    options.results.mkdir(parents=True, exist_ok=True)
    for project in projects:
        rounds = Rounds(context, project, everybody)
        if set(phases) & set(FILLED):
            fill(rounds)
        for phase in _in_order(phases):
            say(f"phase {phase}, {project}")
            figures.setdefault(phase, {})[project] = _run_phase(phase, rounds)
            # After each: hours of figures must not hang on the last one.
            document = json.dumps(result | {"figures": figures}, indent=1) + "\n"
            (options.results / f"{name}.json").write_text(document)
    context.stop_all()
    print(f"result: {options.results / name}.json")
    return 0


def _in_order(phases: list[str]) -> list[str]:
    """Those that need filled stores first: the others empty them."""
    return sorted(phases, key=lambda phase: (phase not in FILLED, list(PHASES).index(phase)))


def _run_phase(phase: str, rounds: Rounds) -> dict[str, object]:
    """Run one phase; a failure is a result too, and the other phases still run."""
    try:
        return PHASES[phase](rounds)
    except BenchError as error:
        say(f"FAILED: {error}: {error.why}")
        return {"failed": str(error), "why": error.why}
    except (OSError, sqlite3.Error, subprocess.SubprocessError) as error:
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    sys.exit(run_main(main))
