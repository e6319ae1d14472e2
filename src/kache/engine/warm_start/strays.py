"""What build scripts wrote beside their OUT_DIR: a run that is not repeated would lose it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

from kache.cargo import fingerprints
from kache.cargo.fingerprints import FoundUnit

GRAIN_NS = 10_000_000
"""Coarsest grain of file dates on Linux (HZ=100)."""
MAX_FILES = 5_000
"""Of directories that are not cargo's; with more in them every run may have written there."""
_HASHED = re.compile(rb"-[0-9a-f]{16}($|\.)")
_OF_CARGO = frozenset(
    {b".fingerprint", b"build", b"deps", b"examples", b"incremental", b".cargo-lock", b".cargo-build-lock"}
    | {b"CACHEDIR.TAG", b".rustc_info.json", b".rustdoc_fingerprint.json", b".future-incompat-report.json"}
)
_OF_TOOLS = frozenset({b"doc", b"package", b"criterion", b"nextest", b"llvm-cov-target", b"miri"})
"""Below the target directory; written by other commands than builds, and large."""


class Strays:
    """Files below a target directory that neither cargo nor rustc put there.

    Args:
        target_dir: absolute.
        profile_dir: of the build.
        outputs: names of what its compiles made, as far as known: a cdylib's has no hash in it.
    """

    def __init__(self, target_dir: bytes, profile_dir: bytes, outputs: frozenset[bytes]) -> None:
        self._target_dir = target_dir
        self._profile_dir = profile_dir
        self._outputs = outputs
        self._changed_ns: list[int] | None = None

    def may_be_of(self, unit: FoundUnit) -> bool:
        """Whether one of them changed while a build script ran.

        A run begins after its `invoked.timestamp` is written, and its `output` is written after it.
        """
        base = os.path.join(self._profile_dir, b"build", unit.directory)
        try:
            began_ns = os.stat(base + b"/invoked.timestamp").st_mtime_ns - GRAIN_NS
            ended_ns = os.stat(base + b"/output").st_mtime_ns + GRAIN_NS
        except OSError:
            return True
        if self._changed_ns is None:
            self._changed_ns = list(self._found())
            if len(self._changed_ns) > MAX_FILES:
                return True
        return len(self._changed_ns) > MAX_FILES or any(began_ns <= at <= ended_ns for at in self._changed_ns)

    def _found(self) -> Iterator[int]:
        """When each changed last, ns."""
        folders = [_entries(self._profile_dir + folder) for folder in (b"/deps", b"/examples")]
        known = {each.inode() for entries in folders for each in entries if self._is_output(each.name)}
        for each in _entries(self._target_dir):
            is_profile = each.is_dir(follow_symlinks=False) and _holds_builds(each.path)
            if not (is_profile or each.name in _OF_CARGO or each.name in _OF_TOOLS):
                yield from _below(each)
        if self._profile_dir != self._target_dir:
            for each in _entries(self._profile_dir):
                if each.name not in _OF_CARGO and not each.name.endswith(b".d") and each.inode() not in known:
                    yield from _below(each)
        for entries in folders:
            for each in entries:
                if each.inode() not in known:  # what cargo uplifts is a link of an output
                    yield from _below(each)

    def _is_output(self, name: bytes) -> bool:
        return name in self._outputs or name.endswith(b".d") or _HASHED.search(name) is not None


def _below(entry: os.DirEntry[bytes]) -> Iterator[int]:
    """When a file changed last, ns; of a directory that of all in it."""
    try:
        yield entry.stat(follow_symlinks=False).st_ctime_ns
    except OSError:
        return
    if not entry.is_dir(follow_symlinks=False):
        return
    left = MAX_FILES
    for folder, folders, names in os.walk(entry.path):
        for name in (*folders, *names):
            left -= 1
            try:
                yield os.lstat(os.path.join(folder, name)).st_ctime_ns
            except OSError:
                continue
        if left < 0:
            return


def _holds_builds(directory: bytes) -> bool:
    """Whether it is a profile's, or a target triple's with profiles in it."""
    below = [directory, *(each.path for each in _entries(directory) if each.is_dir(follow_symlinks=False))]
    return any(os.path.isdir(os.path.join(path, fingerprints.FINGERPRINTS)) for path in below)


def _entries(directory: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []
