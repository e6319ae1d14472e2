"""Rounds in which all contestants take turns, and what is made of their samples."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.compare.contestants import ARCHIVE, Contestant, Sample
from bench.context import Context, say
from bench.errors import BenchError
from bench.stats import median, pair_order, summary

UNUSED_SHARE = 0.8
"""A tool that tells no statistics and takes more than this of its own cold time has not used its store."""


@dataclass
class Rounds:
    """What one project is measured with.

    Attributes:
        context: of the run.
        name: of the project.
        everybody: those who take part.
        cold_s: each one's cold build, by kind of command, for those who tell no statistics.
    """

    context: Context
    name: str
    everybody: list[Contestant]
    cold_s: dict[tuple[str, str], float] = field(default_factory=dict)

    def take_turns(
        self,
        label: str,
        measure: Callable[[Contestant, int], Sample],
        words: Sequence[str] = ("build",),
        among: Sequence[Contestant] = (),
        *,
        is_cached: bool = True,
    ) -> dict[str, object]:
        """Measure each contestant once a round.

        Args:
            label: of the phase, for progress.
            measure: one build of one contestant in one round.
            words: the command, which chooses the cold time to compare with.
            among: who takes part; everybody by default.
            is_cached: whether a store must have been used; a build that used none is rejected.
        """
        by_name = {each.name: each for each in among or self.everybody}
        samples: dict[str, list[Sample]] = {name: [] for name in by_name}
        rejected: dict[str, list[str]] = {}
        for index in range(self.context.rounds):
            for name in pair_order(index, list(by_name)):
                try:
                    sample = measure(by_name[name], index)
                except BenchError as error:
                    rejected.setdefault(name, []).append(f"{error}: {error.why}")
                    continue
                why = self._why_rejected(by_name[name], sample, words) if is_cached else ""
                if why:
                    rejected.setdefault(name, []).append(why)
                else:
                    samples[name].append(sample)
            took = ", ".join(f"{name} {found[-1].wall_s:.2f} s" for name, found in samples.items() if found)
            say(f"{label} {self.name} {index + 1}/{self.context.rounds}: {took}")
        return verdict(samples, rejected)

    def _why_rejected(self, contestant: Contestant, sample: Sample, words: Sequence[str]) -> str:
        if not contestant.is_cache:
            return ""
        if sample.hits is not None:
            return "" if sample.hits else "its own statistics count no hit"
        cold_s = self.cold_s.get((contestant.name, " ".join(words)))
        # Unpacking is the archive's use of its store, whatever cargo then does.
        if contestant.name != ARCHIVE and cold_s is not None and sample.wall_s > UNUSED_SHARE * cold_s:
            return f"it tells no statistics and took {sample.wall_s:.2f} s, cold {cold_s:.2f} s"
        return ""

    def checkout(self, label: str) -> Path:
        """A fresh one."""
        return self.context.checkout(self.context.project(self.name), label)

    def fresh(self, label: str, words: Sequence[str]) -> Callable[[Contestant, int], Sample]:
        """A build in a checkout that never was."""

        def measure(contestant: Contestant, index: int) -> Sample:
            where = self.checkout(f"{label}-{index}-{contestant.name}")
            try:
                return contestant.measure(where, words)
            finally:
                shutil.rmtree(where.parent)

        return measure


def verdict(samples: Mapping[str, list[Sample]], rejected: Mapping[str, list[str]]) -> dict[str, object]:
    """Medians with ranges, the path each took, what was rejected, and who was quickest."""
    arms: dict[str, object] = {}
    for name, found in samples.items():
        if not found:
            arms[name] = {"rejected": rejected.get(name, [])}
            continue
        hits = found[-1].hits
        arms[name] = {
            "wall_s": summary([sample.wall_s for sample in found]),
            "cpu_s": summary([sample.cpu_s for sample in found]),
            "path": "not told" if hits is None else f"{hits} hits",
            "rejected": rejected.get(name, []),
        }
    measured = {name: median([sample.wall_s for sample in found]) for name, found in samples.items() if found}
    return {"arms": arms, "quickest": min(measured, key=lambda name: measured[name]) if measured else None}
