"""What the engine can answer to a call, before it becomes a frame."""

from __future__ import annotations

from dataclasses import dataclass

from kache.compilers.rustc.closure import Surroundings
from kache.compilers.rustc.invocation import Invocation
from kache.compilers.rustc.key_inputs import KeyInputs
from kache.compilers.rustc.roots import Roots
from kache.compilers.rustc.toolchain import Toolchain
from kache.config.remote import RemotePlace
from kache.core.entry import Entry
from kache.core.outcome import Outcome, Reason
from kache.engine.warm_start.traces import Trace
from kache.ipc.protocol import Hit


@dataclass(slots=True)
class Shape:
    """The little of a call that serving a hit needs; kept for calls seen before, so it is kept small.

    Attributes:
        roots: the call's roots.
        out_dir: where outputs go.
        json: messages are JSON.
        wants_artifacts: notifications were asked for.
        crate_name, unit_kind: for the event and the entry.
    """

    roots: Roots
    out_dir: bytes
    json: bool
    wants_artifacts: bool
    crate_name: str
    unit_kind: str


@dataclass(slots=True)
class Passed:
    """rustc runs as if kache were not there."""

    reason: Reason
    detail: str = ""
    crate_name: str = ""
    unit_kind: str = ""
    outcome: Outcome = Outcome.PASSTHROUGH


@dataclass(slots=True)
class Found:
    """An entry fits; it is not restored yet.

    Attributes:
        shape: what serving needs.
        entry: it.
        outcome: what to count it as.
        trace: for the capture at the build's end; None for a call seen before, whose unit was captured then.
    """

    shape: Shape
    entry: Entry
    outcome: Outcome = Outcome.LOCAL_HIT
    trace: Trace | None = None


@dataclass(slots=True)
class Missed:
    """Nothing fits: rustc must run.

    Attributes:
        call: the parsed call.
        shape: for a hit on a compile in flight.
        around: what its closure is compared with.
        inputs: labelled key inputs.
        weak_key: their hash.
        toolchain: whose compile this is.
        remapped: rustc is told stable names for this checkout's paths.
        seen_id: under which id the call is remembered once its answer is known.
        is_traced: warm start wants to know of it.
        place: the remote of this call; None where there is none.
        is_observed: what the compile looks at is to be noted.
    """

    call: Invocation
    shape: Shape
    around: Surroundings
    inputs: KeyInputs
    weak_key: bytes
    toolchain: Toolchain
    remapped: bool
    seen_id: bytes
    is_traced: bool
    is_observed: bool = True
    place: RemotePlace | None = None

    def argv(self) -> list[bytes]:
        """What is run to compile it."""
        compilers = [self.call.compiler] + ([self.call.wrapped_rustc] if self.call.wrapped_rustc else [])
        # Before the caller's own arguments: where both remap a path, the caller's flag wins.
        flags = self.around.roots.remap_flags() if self.remapped else []
        return [*compilers, *flags, *self.call.run_args]

    def argv_into(self, directory: bytes) -> list[bytes]:
        """The same with another out dir."""
        argv = self.argv()
        for at, word in enumerate(argv):
            if word == b"--out-dir":
                argv[at + 1] = directory
            elif word.startswith(b"--out-dir="):
                argv[at] = b"--out-dir=" + directory
        return argv


@dataclass(slots=True)
class Asked:
    """A question to rustc whose answer is worth keeping (`-vV`, `--print`): run it as it is and listen."""

    key: bytes
    argv: list[bytes]


@dataclass(slots=True)
class Answered:
    """A question whose answer is known."""

    hit: Hit


Decision = Passed | Found | Missed | Asked | Answered
