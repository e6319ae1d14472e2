"""What the engine learns of each unit while a build runs, for the capture when it has ended."""

from __future__ import annotations

import os
from collections import OrderedDict
from dataclasses import dataclass

from kache.compilers.rustc.closure import Surroundings
from kache.compilers.rustc.roots import Roots
from kache.core.digest import Digest
from kache.core.entry import Entry, InputKind, InputMemo

MAX_BUILDS = 32
_AS_IS = b"\x01"
_PRIMARY = b"CARGO_PRIMARY_PACKAGE"


@dataclass(frozen=True, slots=True)
class Trace:
    """One compile that ended in an entry.

    Attributes:
        entry: it.
        out_dir: where its outputs are.
        extra_filename: what its file names end with: a hyphen and the unit's hash, or nothing.
        roots: the call's.
        package: directory of its manifest.
        files: keyed files, real path and digest; empty for a directory.
        toolchain: identity.
        is_tied: a path of this checkout got in by value.
        is_open: it read what cargo does not track, and would not notice a change of.
    """

    entry: Entry
    out_dir: bytes
    extra_filename: bytes
    roots: Roots
    package: bytes
    files: tuple[tuple[bytes, Digest], ...]
    toolchain: Digest
    is_tied: bool
    is_open: bool


class Traces:
    """Traces of the builds under way, by build and then by profile directory and unit hash."""

    def __init__(self) -> None:
        self._builds: OrderedDict[str, dict[tuple[bytes, bytes], Trace]] = OrderedDict()
        self._last_ns: dict[str, int] = {}

    def add(self, build: str, trace: Trace, at_ns: int) -> None:
        """Note a compile that began then: by the hash in its file names, or by its crate's name (a cdylib has none)."""
        if build not in self._builds and len(self._builds) >= MAX_BUILDS:
            self.drop(next(iter(self._builds)))
        self._last_ns[build] = max(at_ns, self._last_ns.get(build, 0))
        key = profile_dir(trace.out_dir), trace.extra_filename.lstrip(b"-") or unhashed(trace.entry.crate_name)
        for earlier in self._builds.values():  # what it left is no longer there
            earlier.pop(key, None)
        self._builds.setdefault(build, {})[key] = trace

    def builds(self) -> list[str]:
        """Builds that have traces."""
        return list(self._builds)

    def of(self, build: str) -> dict[bytes, dict[bytes, Trace]]:
        """The traces of a build: profile directory to unit hash, or what stands for it, to trace."""
        found: dict[bytes, dict[bytes, Trace]] = {}
        for (directory, unit_hash), trace in self._builds.get(build, {}).items():
            found.setdefault(directory, {})[unit_hash] = trace
        return found

    def last_ns(self, build: str) -> int:
        """When its last compile began, ns since the Unix epoch: what the next build does in that target is later."""
        return self._last_ns.get(build, 0)

    def drop(self, build: str) -> None:
        """Forget a build."""
        self._builds.pop(build, None)
        self._last_ns.pop(build, None)


def knows_its_command(memo: InputMemo) -> bool:
    """Whether it read of what only cargo's command line decides: no hash of cargo's has it."""
    return any(item.name == _PRIMARY and item.kind in (InputKind.ENV, InputKind.READ) for item in memo.inputs)


def unhashed(crate_name: str) -> bytes:
    """What stands for the hash of a compile that has none in its file names; no hash looks like it."""
    return b"lib:" + os.fsencode(crate_name)


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
