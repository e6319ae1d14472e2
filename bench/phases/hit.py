"""What one hit costs: real calls of cargo repeated through the launcher, one at a time, beside a native `true`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.arms import KacheArm, NothingArm
from bench.context import Context, clean, say, timed_build
from bench.errors import BenchError
from bench.replay import Contestant, RecordedCall, race
from bench.stats import median, summary

HIT_LIMIT_S = 0.003
LAUNCHER_LIMIT_S = 0.0015


def run(context: Context, name: str) -> dict[str, object]:
    """Measure every library unit of one project; return the figures. The median over units decides."""
    where = context.checkout(context.project(name), "a")
    nothing, kache = context.nothing(), context.kache(KACHE_WARM_START="0")
    timed_build(nothing, where)
    calls = library_calls(nothing)
    clean(where)
    say(f"hit {name}: filling the store")
    timed_build(kache, where)
    launcher = _race_launcher(context, calls[0], where)
    true = str(context.native_true())
    units = {call.unit: _race_hit(context, call, kache, true) for call in calls}
    path_taken = kache.box.path_taken()
    in_process = _in_process(context, calls[0], kache)
    kache.stop()
    # Only now: the floor replaces files that are inputs of other units, and kache would have to read them again.
    floor = {call.unit: _race_floor(context, call, nothing, true, where) for call in calls}
    hits = [unit["kache"]["median"] for unit in units.values() if "kache" in unit]
    say(f"hit {name}: {len(hits)} of {len(calls)} units, median {median(hits) if hits else 0:.2f} ms")
    hit_s = median(hits) / 1e3 if hits else None
    return {
        "path": path_taken,
        "hit_s": round(hit_s, 6) if hit_s else None,
        "true_s": round(median(launcher["true"]), 6),
        "floor_hit_s": round(median([unit["median"] for unit in floor.values()]) / 1e3, 6),
        "launcher": {arm: _summary_ms(values) for arm, values in launcher.items()},
        "in_process": in_process,
        "units": units,
        "floor_units": floor,
        "limit_s": HIT_LIMIT_S,
        "launcher_limit_s": LAUNCHER_LIMIT_S,
        "ok": hit_s is not None
        and len(hits) == len(calls)
        and hit_s <= HIT_LIMIT_S
        and median(launcher["launcher"]) <= LAUNCHER_LIMIT_S,
    }


def library_calls(nothing: NothingArm, wanted: str | None = None) -> list[RecordedCall]:
    """Return the recorded calls that make libraries, of one crate if it is named."""
    calls = [RecordedCall.read(path) for path in sorted(nothing.recordings.iterdir()) if (path / "argv").is_file()]
    libraries = [call for call in calls if call.is_library and wanted in (None, call.unit.rsplit("-", 1)[0])]
    if not libraries:
        raise BenchError("no library call was recorded", f"see {nothing.recordings}", "choose another project")
    return libraries


def _race_hit(context: Context, call: RecordedCall, kache: KacheArm, true: str) -> dict[str, dict[str, Any]]:
    """Repeat one unit's call through the launcher; a call that is no hit is told and not timed."""
    contestant = Contestant("kache", [str(context.program), *call.argv], call.env | kache.box.env())
    counted = kache.box.counts()
    race([contestant], 1, call.cwd)
    first = kache.box.counts().since(counted)
    if first.hits != first.calls:
        say(f"hit {call.unit}: not a hit: {first.outcomes} {first.reasons}")
        return {"not_a_hit": first.outcomes, "reasons": first.reasons}
    walls = race([Contestant("true", [true], call.env), contestant], context.loops, call.cwd)
    return {arm: _summary_ms(values) for arm, values in walls.items()}


def _race_floor(context: Context, call: RecordedCall, nothing: NothingArm, true: str, where: Path) -> dict[str, Any]:
    """Repeat the same call through the do-nothing wrapper: the cost of the unit's own bytes."""
    contestant = Contestant("nothing", [str(nothing.program), *call.argv], call.env | nothing.env(where))
    walls = race([Contestant("true", [true], call.env), contestant], max(5, context.loops // 5), call.cwd)
    return _summary_ms(walls["nothing"])


def _race_launcher(context: Context, call: RecordedCall, where: Path) -> dict[str, list[float]]:
    """Time the launcher without an engine: its own answer to --version, and a disabled kache that execs a `true`."""
    true, program = str(context.native_true()), str(context.program)
    contestants = [
        Contestant("true", [true], call.env),
        Contestant("launcher", [program, "--version"], call.env),
        Contestant("launcher_execs_true", [program, true, *call.argv[1:]], call.env | {"KACHE_DISABLED": "1"}),
    ]
    return race(contestants, context.loops, where)


def _in_process(context: Context, call: RecordedCall, kache: KacheArm) -> dict[str, object]:
    """Time the same hit from the same store when there is no daemon."""
    env = call.env | kache.box.env() | {"KACHE_DAEMON": "0"}
    walls = race([Contestant("kache", [str(context.program), *call.argv], env)], max(5, context.loops // 10), call.cwd)
    return {"path": "in-process", "unit": call.unit, "hit": _summary_ms(walls["kache"])}


def _summary_ms(values: list[float]) -> dict[str, Any]:
    """Summarise in milliseconds; the single values are too many to keep."""
    found: dict[str, Any] = summary([value * 1e3 for value in values])
    del found["values"]
    ordered = sorted(values)
    return found | {"p90": round(ordered[int(len(ordered) * 0.9)] * 1e3, 6), "unit": "ms"}
