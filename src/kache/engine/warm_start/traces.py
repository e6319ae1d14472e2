"""What the engine learns of each unit while a build runs, for the capture when it has ended."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass

from kache.compilers.rustc.closure import Surroundings
from kache.core.digest import Digest
from kache.core.entry import Entry, InputKind, InputMemo

MAX_BUILDS = 32
_AS_IS = b"\x01"


@dataclass(frozen=True, slots=True)
class Trace:
    """One compile that ended in an entry.

    Attributes:
        entry: it.
        out_dir: where its outputs are.
        extra_filename: what its file names end with: a hyphen and the unit's hash, or nothing.
        around: the call's roots and environment.
        files: keyed files, real path to digest; empty for a directory.
        toolchain: identity.
        is_tied: a path of this checkout got in by value.
    """

    entry: Entry
    out_dir: bytes
    extra_filename: bytes
    around: Surroundings
    files: dict[bytes, Digest]
    toolchain: Digest
    is_tied: bool


class Traces:
    """Traces of the builds under way, by build and then by profile directory and unit hash."""

    def __init__(self) -> None:
        self._builds: OrderedDict[str, dict[tuple[bytes, bytes], Trace]] = OrderedDict()

    def add(self, build: str, trace: Trace) -> None:
        """Note a compile; one without a hash in its file names cannot be told from another and is left out."""
        if not trace.extra_filename:
            return
        if build not in self._builds and len(self._builds) >= MAX_BUILDS:
            self._builds.popitem(last=False)
        key = (profile_dir(trace.out_dir), trace.extra_filename.lstrip(b"-"))
        self._builds.setdefault(build, {})[key] = trace

    def builds(self) -> list[str]:
        """Builds that have traces."""
        return list(self._builds)

    def take(self, build: str) -> dict[bytes, dict[bytes, Trace]]:
        """The traces of a build that ended: profile directory to unit hash to trace."""
        taken: dict[bytes, dict[bytes, Trace]] = {}
        for (directory, unit_hash), trace in self._builds.pop(build, {}).items():
            taken.setdefault(directory, {})[unit_hash] = trace
        return taken


def profile_dir(out_dir: bytes) -> bytes:
    """The directory with `deps`, `build` and `.fingerprint` that an out dir belongs to."""
    parent, name = os.path.split(out_dir)
    return parent if name in (b"deps", b"examples") else os.path.dirname(parent)


def is_tied(memo: InputMemo, around: Surroundings) -> bool:
    """Whether a compile holds a path of its checkout by value: found in an artifact, or read from a variable."""
    for item in memo.inputs:
        if item.kind == InputKind.FACT and item.name.startswith(b"<"):
            return True
        if item.kind in (InputKind.ENV, InputKind.READ) and item.value[:1] == _AS_IS:
            value = around.env.get(item.name)
            if value is not None and around.roots.holds_path(value):
                return True
    return False
