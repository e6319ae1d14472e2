"""`make figures`: README's table and the plots of the benchmark's page, written from bench/results and nothing else.

Of each phase and project the newest run that did not fail counts. A row compares within one run. What was asked for and
was not reached says so.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import picture
from bench.compare import page

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "bench" / "results"
PLOTS = ROOT / "docs" / "explanation" / "plots"
BLOCK = re.compile(
    r"(?<=<!-- measured:begin: written by make figures from bench/results -->\n).*?(?=<!-- measured:end -->)", re.DOTALL
)
COMPARED = re.compile(r"(?<=<!-- compared:begin -->\n).*?(?=<!-- compared:end -->)", re.DOTALL)
PROJECTS = ("ripgrep", "mdbook", "hk", "bat", "sea-orm-cli")
VERBS = {"build": "`build`", "check": "`check`", "test": "`test --no-run`", "release": "`build --release`"}
NAMES = {"nothing": "do-nothing wrapper", "plain": "plain cargo", "archive": "`target/` as tar.zst"}
Figures = Mapping[str, Any]
Row = tuple[str, str, str, str]


@dataclass(frozen=True)
class Found:
    """One phase of one project in one run."""

    phase: str
    project: str
    run: str
    machine: Figures
    settings: Figures
    figures: Figures


def newest(results: Path) -> dict[tuple[str, str], Found]:
    """The newest run of each phase and project that did not fail."""
    found: dict[tuple[str, str], Found] = {}
    for path in sorted(results.glob("*.json")):
        document = json.loads(path.read_text())
        if document.get("kind") == "compare":  # bench/compare/page.py reads those
            continue
        for phase, projects in document["figures"].items():
            for project, figures in projects.items():
                if "failed" not in figures:
                    run = Found(phase, project, path.stem, document["machine"], document["settings"], figures)
                    found[phase, project] = run
    return found


def block(found: Mapping[tuple[str, str], Found]) -> str:
    """README's text between its two marks."""
    shown = [found[key] for key in ((phase, project) for phase in _ROWS for project in PROJECTS) if key in found]
    machines = {f"{run.machine['cores']} cores, {run.machine['filesystem']}, {_rustc(run)}" for run in shown}
    rows = [row for run in shown for row in _ROWS[run.phase](run)]
    runs = sorted({run.run for run in shown})
    lines = [
        "Published crates with their lock files, dev profile, `CARGO_INCREMENTAL=0` but for edits; medians. Machine:",
        f"{'; '.join(sorted(machines))}. It was shared with other work, so ratios count and seconds do not. Each row",
        "compares within one run.",
        "",
        "| what | kache | beside it | asked for |",
        "| --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        f"Runs, in `bench/results/`: {', '.join(runs)}.",
        "",
    ]
    return "\n".join(lines)


def _rustc(run: Found) -> str:
    return " ".join(str(run.machine["rustc"]).split()[:2])


def _hit(run: Found) -> Iterator[Row]:
    figures = run.figures
    alone = figures["launcher"]["launcher"]["median"]
    beside = f"a native `true` {_ms(figures['true_s'])}, the launcher alone {alone:.1f} ms"
    what = f"one hit, launcher's start to its exit ({run.settings['loops']} calls)"
    yield what, _ms(figures["hit_s"]), beside, _asked(f"at most {_ms(figures['limit_s'])}", is_met=figures["ok"])


def _warm(run: Found) -> Iterator[Row]:
    figures, walls = run.figures, run.figures["wall_s"]
    beside = ", ".join(f"{_name(arm)} {_s(wall['median'])}" for arm, wall in walls.items() if arm != "kache")
    rounds = walls["kache"]["count"]
    asked = _asked(f"at most {_s(figures['limit_s'])}", is_met=figures["ok"])
    if figures["ok_against_peers"] is not None:
        asked += ", " + _asked("half of the best peer", is_met=figures["ok_against_peers"])
    what = f"empty target in another checkout, {run.project}, by hits alone, {rounds} rounds taking turns"
    yield what, _s(walls["kache"]["median"]), beside, asked
    noop = run.figures["noop"]
    did = "nothing to do" if all(each["ok"] for each in noop.values()) else "**not fresh**"
    yield f"{run.project} built again there, and in the first checkout", did, "", "nothing to do"


def _fresh(run: Found) -> Iterator[Row]:
    for verb, word in VERBS.items():
        figures = run.figures["verbs"].get(verb)
        if figures is None:
            continue
        walls = figures["wall_s"]
        peers = "".join(f", {_name(arm)} {_s(wall['median'])}" for arm, wall in walls.items() if arm != "kache")
        ratio = figures["noop_ratio"]["median"]
        limit = run.figures["limits"]["noop_ratio"]
        asked = _asked(f"{limit:.0f} times cargo with nothing to do ({ratio:.1f})", is_met=ratio <= limit)
        if figures["half_of_best_peer_s"] is not None:
            is_half = walls["kache"]["median"] <= figures["half_of_best_peer_s"]
            asked += ", " + _asked("half of the best peer", is_met=is_half)
        what = f"the same with warm start, {run.project}: {word}, {walls['kache']['count']} rounds"
        beside = f"cargo with nothing to do {_s(figures['noop_s']['kache']['median'])}{peers}"
        yield what, _s(walls["kache"]["median"]), beside, asked


def _cold(run: Found) -> Iterator[Row]:
    figures, wall = run.figures, run.figures["wall_ratio"]
    beside = f"plain cargo {_s(figures['plain_wall_s']['median'])}; median ratio {wall['median']:.3f} in wall time"
    beside += f" ({wall['min']:.2f} to {wall['max']:.2f}), {figures['cpu_ratio']['median']:.3f} in CPU time"
    peers = figures["peers"].items()
    beside += "".join(f"; {_name(arm)} {peer['wall_ratio']['median']:.3f} in wall time" for arm, peer in peers)
    asked = _asked(f"at most {figures['limit']}", is_met=figures["ok"])
    yield f"cold, {run.project}, {wall['count']} pairs", _s(figures["kache_wall_s"]["median"]), beside, asked


def _edit(run: Found) -> Iterator[Row]:
    limits = run.figures["limits"]
    for label, what in (("program", f"editing {run.project}'s program"), ("library", "editing a library below it")):
        figures = run.figures[label]
        steps = ("first", "second", "further")
        ours = ", ".join(_s(figures[f"{step}_s"]["kache"]["median"]) for step in steps)
        bases = (("first", "plain-not-incremental"), ("second", "plain"), ("further", "plain"))
        plain = ", ".join(_s(figures[f"{step}_s"][base]["median"]) for step, base in bases)
        ratios = [figures[f"{step}_ratio"]["median"] for step in steps]
        asked = [limits["first"], limits["further"], limits["further"]]
        told = ", ".join(
            _asked(f"{limit:g}", is_met=ratio <= limit) for ratio, limit in zip(ratios, asked, strict=True)
        )
        shown = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        rounds = figures["first_s"]["kache"]["count"]
        beside = f"plain cargo, the first not incremental: {plain}; median ratios {shown}"
        yield f"{what}: first, second, further edits, {rounds} rounds", ours, beside, f"ratios of at most {told}"


def _disk(run: Found) -> Iterator[Row]:
    figures = run.figures
    share = max(figures["share_of_first_shareable"])
    asked = _asked(f"at most {figures['limit'] * 100:.0f} %", is_met=figures["ok"])
    what = f"what each further checkout of {run.project} adds, beyond executables, `.rmeta` and cargo's own files"
    yield what, f"{share * 100:.0f} %", f"the first target {_mb(figures['first_target_bytes'])}", asked


def _memory(run: Found) -> Iterator[Row]:
    last = run.figures["curve"][-1]
    asked = _asked(f"at most {_mb(run.figures['limit_bytes'])}", is_met=run.figures["ok"])
    yield f"daemon after {last['units']:,} units", _mb(last["rss_bytes"]), "", asked


def _index(run: Found) -> Iterator[Row]:
    figures = run.figures
    asked = _asked(f"at most {figures['limit_bytes'] / 1000:.0f} KB", is_met=figures["ok"])
    each = figures["bytes_per_entry"]
    yield f"index, {run.project}", f"{each / 1000:.1f} KB an entry", f"{figures['entries']} entries", asked


# Phase to what makes its rows, in the table's order. Other phases are in the results alone.
_ROWS: Mapping[str, Callable[[Found], Iterator[Row]]] = {
    "hit": _hit,
    "warm": _warm,
    "fresh": _fresh,
    "cold": _cold,
    "edit": _edit,
    "disk": _disk,
    "memory": _memory,
    "index": _index,
}


def plots(found: Mapping[tuple[str, str], Found]) -> dict[str, str]:
    """File name to SVG: one for cold builds, one for empty targets, one for edits."""
    titles = {
        "cold": "cargo build into an empty target, empty store",
        "warm": "cargo build into an empty target in another checkout, by hits",
        "fresh": "the same with warm start",
        "edit": "an edit, with incremental compilation as cargo comes",
    }
    groups: dict[str, dict[str, dict[str, float]]] = {title: {} for title in titles}
    known = {key: run for key, run in found.items() if key[1] in PROJECTS}
    for (phase, project), run in sorted(known.items(), key=lambda each: PROJECTS.index(each[0][1])):
        for heading, bars in _bars(phase, project, run.figures):
            groups[phase][heading] = bars
    return {f"{phase}.svg": picture.draw(titles[phase], bars) for phase, bars in groups.items() if bars}


def _bars(phase: str, project: str, figures: Figures) -> Iterator[tuple[str, dict[str, float]]]:
    if phase == "cold":
        peers = {arm: peer["wall_s"]["median"] for arm, peer in figures["peers"].items()}
        own = {arm: figures[f"{arm}_wall_s"]["median"] for arm in ("plain", "kache")}
        yield project, own | peers
    elif phase == "warm":
        yield project, {arm: wall["median"] for arm, wall in figures["wall_s"].items()}
    elif phase == "fresh":
        for verb, each in figures["verbs"].items():
            bars = {arm: wall["median"] for arm, wall in each["wall_s"].items()}
            yield f"{project}: {verb}", {"nothing to do": each["noop_s"]["kache"]["median"], **bars}
    elif phase == "edit":
        for label in ("program", "library"):
            for step in ("first", "second", "further"):
                yield (
                    f"{label}, {step} edit",
                    {arm: wall["median"] for arm, wall in figures[label][f"{step}_s"].items()},
                )


def _asked(what: str, *, is_met: bool) -> str:
    return what if is_met else f"**missed:** {what}"


def _name(arm: str) -> str:
    if arm.startswith("kache-"):
        return f"kache {arm.removeprefix('kache-')} (another project of that name)"
    return NAMES.get(arm, arm.replace("-", " "))


def _s(value: float) -> str:
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def _ms(value_s: float) -> str:
    return f"{value_s * 1000:.1f} ms"


def _mb(count: float) -> str:
    return f"{count / 1e6:.0f} MB"


def write(results: Path, root: Path) -> Sequence[Path]:
    """Write README's table, the page's and the plots below a root; return the files that changed."""
    found = newest(results)
    readme, benchmarks, where = (
        root / "README.md",
        root / "docs/explanation/benchmarks.md",
        root / PLOTS.relative_to(ROOT),
    )
    # Plots of the comparison stand below its table: which projects there are, the results say.
    shown = "".join(f"\n![{name}](plots/{name})\n" for name in page.plots(results))
    made = {
        readme: BLOCK.sub(lambda _: block(found), readme.read_text()),
        benchmarks: COMPARED.sub(lambda _: page.table(results) + shown, benchmarks.read_text()),
        **{where / name: svg for name, svg in (plots(found) | page.plots(results)).items()},
    }
    changed = [path for path, content in made.items() if not path.exists() or path.read_text() != content]
    where.mkdir(parents=True, exist_ok=True)
    for path in changed:
        path.write_text(made[path])
    return changed


def main() -> int:
    """Write them."""
    parser = argparse.ArgumentParser(
        prog="make figures", description="Write README's table and the plots from results."
    )
    parser.parse_args()
    for path in write(RESULTS, ROOT):
        print(f"figures: wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
