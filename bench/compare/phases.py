"""The phases, in the order in which they are run: later ones use the stores that earlier ones filled."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench.arms import KacheArm
from bench.compare import members
from bench.compare.contestants import ARCHIVE, Contestant, Sample, contestants
from bench.compare.empty_machine import run as empty_machine
from bench.compare.rounds import Rounds
from bench.context import clean, say
from bench.disk import allocated_bytes
from bench.phases.warm import set_aside
from bench.projects import catalogue_entry, version_of

Result = dict[str, object]
VERBS: dict[str, tuple[str, ...]] = {
    "build": ("build",),
    "check": ("check",),
    "test": ("test", "--no-run"),
    "release": ("build", "--release"),
}
WORKTREES = (1, 2, 4)
AT_ONCE = 6


def cold(rounds: Rounds) -> Result:
    """An empty store and an empty target."""
    where = rounds.checkout("a")

    def measure(contestant: Contestant, _: int) -> Sample:
        clean(where)
        contestant.reset()
        return contestant.fill(where, VERBS["build"])

    return rounds.take_turns("cold", measure, is_cached=False)


def fill(rounds: Rounds) -> None:
    """Fill every store with the four kinds of command, and remember what that took."""
    where = rounds.checkout("a")
    for contestant in rounds.everybody:
        clean(where)
        contestant.reset()
        for words in VERBS.values():
            say(f"filling {contestant.name}: cargo {' '.join(words)}")
            rounds.cold_s[contestant.name, " ".join(words)] = contestant.fill(where, words).wall_s
    clean(where)


def same(rounds: Rounds) -> Result:
    """A fresh target in the checkout that the store was filled in."""
    where = rounds.context.work / "checkouts" / "a" / rounds.context.project(rounds.name).name

    def measure(contestant: Contestant, index: int) -> Sample:
        set_aside(where, index)
        return contestant.measure(where, VERBS["build"])

    try:
        return rounds.take_turns("same checkout", measure)
    finally:
        for old in where.glob("target-*"):
            shutil.rmtree(old)


def other(rounds: Rounds) -> Result:
    """Fresh targets in checkouts at other paths, for each kind of command."""
    return {verb: rounds.take_turns(verb, rounds.fresh(verb, words), words) for verb, words in VERBS.items()}


def daemon_start(rounds: Rounds) -> Result:
    """The same after the daemon was ended, as after a boot."""
    build = rounds.fresh("started", VERBS["build"])

    def measure(contestant: Contestant, index: int) -> Sample:
        contestant.arm.stop()
        return build(contestant, index)

    return rounds.take_turns("daemon started", measure, among=_with_daemon(rounds))


def at_once(rounds: Rounds) -> Result:
    """Six builds in six fresh checkouts at the same time: from the first one's start to the last one's end."""

    def measure(contestant: Contestant, index: int) -> Sample:
        places = [rounds.checkout(f"six-{index}-{number}-{contestant.name}") for number in range(AT_ONCE)]
        started = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            samples = list(pool.map(lambda where: contestant.measure(where, VERBS["build"]), places))
        wall_s = time.perf_counter() - started
        for where in places:
            shutil.rmtree(where.parent)
        hits = [sample.hits for sample in samples if sample.hits is not None]
        # A daemon's seconds are in all that ran beside it, so no sum of them is right.
        return Sample(wall_s, max(sample.cpu_s for sample in samples), max(hits) if hits else None)

    return rounds.take_turns("six at once", measure)


def next_commit(rounds: Rounds) -> Result:
    """The version before fills the store, as main did; then this one is built, as a branch is."""
    before = catalogue_entry(rounds.name)["before"]
    earlier = version_of(rounds.name, str(before), rounds.context.work, rounds.context.base_env)
    for contestant in rounds.everybody:
        contestant.reset()
        where = rounds.context.checkout(earlier, "before")
        clean(where)
        contestant.fill(where, VERBS["build"])
    return {"before": before, **rounds.take_turns("next commit", rounds.fresh("next", VERBS["build"]))}


def edits(rounds: Rounds) -> Result:
    """One line more in a leaf, the middle, the root; incremental as cargo comes, each tool in a checkout of its own."""
    context = replace(rounds.context, base_env={**rounds.context.base_env, "CARGO_INCREMENTAL": "1"})
    everybody = [each for each in contestants(context)[0] if each.name != ARCHIVE]
    chosen = catalogue_entry(rounds.name)["edit"]
    assert isinstance(chosen, Mapping)
    places: dict[str, Path] = {}
    files: dict[str, str] = {}
    for contestant in everybody:
        where = rounds.checkout(f"edit-{contestant.name}")
        files = members.prepare(context, where, chosen)
        contestant.reset()
        contestant.fill(where, VERBS["build"])
        places[contestant.name] = where
    numbers = iter(range(1_000_000))

    def edit(file: str) -> Callable[[Contestant, int], Sample]:
        def measure(contestant: Contestant, _: int) -> Sample:
            where = places[contestant.name]
            members.edit(where / file, next(numbers))
            return contestant.measure(where, VERBS["build"])

        return measure

    # What an edit compiles is new by its nature, so nobody is asked for hits.
    found: Result = {
        place: rounds.take_turns(f"edit {place}", edit(file), among=everybody, is_cached=False)
        for place, file in files.items()
    }
    for contestant in everybody:
        contestant.arm.stop()
        shutil.rmtree(places[contestant.name].parent)
    return found


def disk(rounds: Rounds) -> Result:
    """What stores and targets occupy together, for 1, 2 and 4 worktrees."""
    result: Result = {}
    for contestant in rounds.everybody:
        contestant.reset()
        places = [rounds.checkout(f"disk-{number}-{contestant.name}") for number in range(max(WORKTREES))]
        state = rounds.context.work / "state" / contestant.name
        found: dict[str, int] = {}
        for number, where in enumerate(places, 1):
            (contestant.fill if number == 1 else contestant.measure)(where, VERBS["build"])
            if number in WORKTREES:
                found[str(number)] = allocated_bytes([state, *(place / "target" for place in places[:number])])
        result[contestant.name] = found
        for where in places:
            shutil.rmtree(where.parent)
    return {"bytes": result}


def memory(rounds: Rounds) -> Result:
    """What kache's daemon weighs after all that."""
    for contestant in rounds.everybody:
        arm = contestant.arm
        pid = arm.box.daemon_pid() if isinstance(arm, KacheArm) else None
        if pid is not None:
            status = Path(f"/proc/{pid}/status").read_text()
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
            return {"kache_peak_bytes": int(peak.split()[1]) * 1024}
    return {"kache_peak_bytes": None}


def _with_daemon(rounds: Rounds) -> list[Contestant]:
    return [each for each in rounds.everybody if each.is_cache and each.name != ARCHIVE]


PHASES: dict[str, Callable[[Rounds], Result]] = {
    "cold": cold,
    "same": same,
    "other": other,
    "daemon": daemon_start,
    "six": at_once,
    "memory": memory,
    "disk": disk,
    "next": next_commit,
    "edit": edits,
    "empty": empty_machine,
}
FILLED = ("same", "other", "daemon", "six")
"""Those that need stores filled by `fill`, which is run before the first of them."""
