"""Edit: change one file and build, over and over: a program, and a library in the middle of the tree below it.

Beside plain cargo with incremental compilation on, which every further edit is measured by, and with it off, which the
first edit in a checkout is measured by. A round is a first edit, a second one and further ones. Between two edits
somebody thinks: what is left over from a build, such as making state, is waited for.
"""

from __future__ import annotations

import dataclasses
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bench import peers
from bench.arms import Arm
from bench.context import Context, clean, say, timed_build
from bench.errors import BenchError
from bench.projects import cargo, copy_tree, unpacked
from bench.stats import median, pair_order, paired_ratios, summary
from bench.usage import tail

FIRST_LIMIT = 1.0
FURTHER_LIMIT = 1.05
FURTHER = 3
MEMBER = "grep-printer"
PLAIN, WITHOUT, OURS = "plain", "plain-not-incremental", "kache"


@dataclasses.dataclass(frozen=True)
class Place:
    """Where an edit goes.

    Attributes:
        file: below the checkout.
        marker: what stands there, a number in it.
        seed: what the marker is put in place of, once.
    """

    file: str
    marker: str
    seed: tuple[str, str]

    def prepare(self, where: Path) -> None:
        """Put the marker there."""
        path = where / self.file
        text = path.read_text()
        old, new = self.seed
        if text.count(old) != 1:
            count = text.count(old)
            raise BenchError(f"cannot edit {self.file}", f"it has {old!r} {count} times", "see PLACES in edit.py")
        path.write_text(text.replace(old, new))

    def edit(self, where: Path, number: int) -> None:
        """Change the code, by one number in a function's body."""
        path = where / self.file
        pattern = re.escape(self.marker).replace("NUMBER", r"\d+")
        path.write_text(re.sub(pattern, lambda _: self.marker.replace("NUMBER", str(number)), path.read_text()))


PLACES = {
    "program": Place(
        "crates/core/main.rs",
        "No files were searched (NUMBER)",
        ("No files were searched", "No files were searched (0)"),
    ),
    "library": Place(
        "crates/printer/src/summary.rs",
        "let edit = NUMBERu64; let _ = edit;",
        ("pub fn new() -> SummaryBuilder {", "pub fn new() -> SummaryBuilder { let edit = 0u64; let _ = edit;"),
    ),
}


class Checkout:
    """One arm's own checkout, so that each has its own target directory."""

    def __init__(self, context: Context, arm: Arm) -> None:
        self.arm = arm
        self.where = context.checkout(context.project("ripgrep"), f"edit-{arm.name}")
        _with_member(context, self.where)
        for place in PLACES.values():
            place.prepare(self.where)

    def forget_state(self) -> None:
        """Make the next edit a first one: a checkout of which nothing was edited has no incremental state."""
        for state in (self.where / "target" / "debug").glob("incremental*"):
            shutil.rmtree(state)

    def build(self, place: Place, number: int) -> float:
        """Edit and build; return the wall time."""
        place.edit(self.where, number)
        return timed_build(self.arm, self.where).wall_s


def run(context: Context, name: str) -> dict[str, object]:
    """Measure; only ripgrep is known well enough to be edited."""
    if name != "ripgrep":
        raise BenchError(f"no edits are known for {name}", "see PLACES in bench/phases/edit.py", "choose ripgrep")
    on = dataclasses.replace(context, base_env={**context.base_env, "CARGO_INCREMENTAL": "1"})
    kache = on.kache()
    plain, without = on.plain(), context.plain()
    plain.name, without.name = PLAIN, WITHOUT
    others = peers.arms(on.work, on.base_env)[0] if context.peers else []
    arms: list[Arm] = [plain, without, kache, *others]
    checkouts = {arm.name: Checkout(on, arm) for arm in arms}
    for checkout in checkouts.values():
        say(f"edit: a whole build with {checkout.arm.name}")
        clean(checkout.where)
        checkout.arm.reset()
        timed_build(checkout.arm, checkout.where)
    numbers = _counter()
    result: dict[str, object] = {"path": kache.box.path_taken(), "further_edits_a_round": FURTHER}
    verdicts = []
    for label, place in PLACES.items():
        found, ok = _measure(context, checkouts, label, place, numbers)
        result[label] = found
        verdicts.append(ok)
    counts = kache.box.counts()
    for arm in arms:
        arm.stop()
    return result | {
        "outcomes": counts.outcomes,
        "passthrough_reasons": counts.reasons,
        "limits": {"first": FIRST_LIMIT, "further": FURTHER_LIMIT},
        "ok": all(verdicts),
    }


def _measure(
    context: Context, checkouts: dict[str, Checkout], label: str, place: Place, number: Callable[[], int]
) -> tuple[dict[str, object], bool]:
    first: dict[str, list[float]] = {name: [] for name in checkouts}
    # All of the other arm's edits are whole compiles: its first ones say it all.
    further: dict[str, list[float]] = {name: [] for name in checkouts if name != WITHOUT}
    second: dict[str, list[float]] = {name: [] for name in further}
    for index in range(context.rounds):
        order = pair_order(index, list(checkouts))
        for name in order:
            if name != PLAIN:  # whose state is there from the first build on
                checkouts[name].forget_state()
            first[name].append(checkouts[name].build(place, number()))
        for times in (second, *[further] * FURTHER):
            for name in (name for name in order if name in times):
                times[name].append(checkouts[name].build(place, number()))
        say(
            f"edit {label} {index + 1}/{context.rounds}: "
            + ", ".join(f"{name} {times[-1]:.2f} s" for name, times in first.items())
            + "; then "
            + ", ".join(f"{name} {times[-1]:.2f} s" for name, times in further.items())
        )
    first_ratio = paired_ratios(list(zip(first[WITHOUT], first[OURS], strict=True)))
    further_ratio = paired_ratios(list(zip(further[PLAIN], further[OURS], strict=True)))
    back = _back(checkouts[OURS], place, number())
    second_ratio = paired_ratios(list(zip(second[PLAIN], second[OURS], strict=True)))
    ok = median(first_ratio) <= FIRST_LIMIT and bool(back["ok"])
    ok = ok and median(second_ratio) <= FURTHER_LIMIT and median(further_ratio) <= FURTHER_LIMIT
    found = {
        "first_s": {name: summary(values) for name, values in first.items()},
        "second_s": {name: summary(values) for name, values in second.items()},
        "further_s": {name: summary(values) for name, values in further.items()},
        "first_ratio": summary(first_ratio),
        "second_ratio": summary(second_ratio),
        "further_ratio": summary(further_ratio),
        "back_to_a_known_state": back,
    }
    return found, ok


def _back(checkout: Checkout, place: Place, number: int) -> dict[str, object]:
    """A first edit, which is stored, a further one, and back: what is known is served."""
    checkout.forget_state()
    checkout.build(place, number)
    checkout.build(place, number + 1)
    before = checkout.arm.counts()
    wall_s = checkout.build(place, number)
    after = checkout.arm.counts()
    assert before is not None
    assert after is not None
    counts = after.since(before)
    return {
        "wall_s": round(wall_s, 6),
        "outcomes": counts.outcomes,
        "ok": counts.hits > 0 and counts.hits == counts.calls,
    }


def _with_member(context: Context, where: Path) -> None:
    """Make a library of the registry a member of the workspace, as it is in the project's own repository."""
    locked = re.search(rf'name = "{MEMBER}"\nversion = "([^"]+)"', (where / "Cargo.lock").read_text())
    if locked is None:
        raise BenchError(f"{MEMBER} is not locked", f"see {where / 'Cargo.lock'}", "choose another member")
    copy_tree(unpacked(MEMBER, locked.group(1), context.work, context.base_env), where / "crates" / "printer")
    with (where / "Cargo.toml").open("a") as manifest:
        manifest.write('\n[workspace]\nmembers = ["crates/printer"]\n')
        manifest.write(f'\n[patch.crates-io]\n{MEMBER} = {{ path = "crates/printer" }}\n')
    done = cargo(["metadata", "--offline", "--format-version", "1"], context.base_env, where)
    if done.returncode:
        raise BenchError("cargo does not take the member", tail(done.stderr, 6), "see bench/phases/edit.py")


def _counter() -> Callable[[], int]:
    """Numbers that were never built before, whatever the store holds; every second one, for `_back`."""
    numbers = iter(range(int(time.time()) * 10, 1 << 62, 2))
    return lambda: next(numbers)
