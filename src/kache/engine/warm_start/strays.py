"""What neither cargo nor rustc put into a target directory or a package: a script that is not run would not make it.

Which script made it is not known: a date tells the last change alone, and one that finds its file there writes nothing.
So a single one keeps the runs of the build from being kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Set

from kache.cargo import fingerprints

_HASH = re.compile(rb"-([0-9a-f]{16})(?=$|\.)")
_UNIT = re.compile(rb".-[0-9a-f]{16}$")
_SESSION = re.compile(rb".-[0-9a-z]+$")
_OF_TARGET = frozenset(
    {b"CACHEDIR.TAG", b".rustc_info.json", b".rustdoc_fingerprint.json", b".future-incompat-report.json", b"doc"}
    | {b"package"}
)
_OF_PROFILE = frozenset({b".fingerprint", b"build", b"deps", b"examples", b"incremental"})
_LOCKS = frozenset({b".cargo-lock", b".cargo-build-lock", b".cargo-artifact-lock"})
_OF_RUN = frozenset({b"out", b"output", b"root-output", b"stderr", b"invoked.timestamp"})
_UNPACKED = b".cargo-ok"
_MAX_FOLDERS = 2_000
_OWN = b"kache.out"
"""Where the states of edited units are made."""


def first_stray(target_dir: bytes, outputs: Set[bytes]) -> bytes | None:
    """A path below a target directory that is not cargo's nor rustc's, or None.

    Args:
        target_dir: absolute.
        outputs: names of what compiles made, as far as known: a cdylib's has no hash in it.
    """
    return next(_strays(target_dir, outputs, is_top=True), None)


def wrote_into(package: bytes) -> bool:
    """Whether something was written into a registry or git package after cargo had unpacked it, or nobody can tell.

    Args:
        package: its directory. cargo writes `.cargo-ok` there, or above it, when all is unpacked.
    """
    top = package
    while not os.path.isfile(top + b"/" + _UNPACKED):
        top, below = os.path.dirname(top), top
        if top == below:
            return True
    unpacked_ns = os.stat(top + b"/" + _UNPACKED).st_mtime_ns
    folders = [package]
    for _ in range(_MAX_FOLDERS):
        if not folders:
            return False
        for each in _entries(folders.pop()):
            if each.is_dir(follow_symlinks=False):
                folders += [each.path] if each.name != b".git" else []
            elif each.stat(follow_symlinks=False).st_mtime_ns > unpacked_ns:
                return True
    return True


def _strays(directory: bytes, outputs: Set[bytes], *, is_top: bool) -> Iterator[bytes]:
    for each in _entries(directory):
        is_directory = each.is_dir(follow_symlinks=False)
        if is_directory and _is_profile(each.path):
            yield from _of_profile(each.path, outputs)
        elif is_directory and is_top and any(_is_profile(below.path) for below in _entries(each.path)):
            yield from _strays(each.path, outputs, is_top=False)  # a target triple's
        elif each.name not in _OF_TARGET and not (each.name == b"tmp" and is_directory and not _entries(each.path)):
            yield each.path


def _of_profile(profile: bytes, outputs: Set[bytes]) -> Iterator[bytes]:
    units = {each.name for each in _entries(os.path.join(profile, fingerprints.FINGERPRINTS))}
    hashes = {name.rpartition(b"-")[2] for name in units}
    yield from (os.path.join(profile, b".fingerprint", name) for name in units if not _UNIT.search(name))
    for each in _entries(profile + b"/build"):
        yield from _of_unit(each, hashes) if each.name in units else (each.path,)
    sessions = _entries(profile + b"/incremental")
    yield from (each.path for each in sessions if each.name != _OWN and not _SESSION.search(each.name))
    below = [*_entries(profile + b"/deps"), *_entries(profile + b"/examples")]
    made = {each.name for each in below if _is_output(each.name, hashes, outputs)}
    # What cargo uplifts is named like an output less its hash, with a list for make beside it (`both.d`).
    uplifted = {_HASH.sub(b"", name) for name in made} | outputs
    stems = {stem for name in uplifted for stem in (_stem(name), _stem(name).removeprefix(b"lib"))}
    tops = [each for each in _entries(profile) if each.name not in _OF_PROFILE | _LOCKS]
    for each in (*below, *tops):
        is_list = each.name.endswith(b".d") and _stem(each.name) in stems
        is_known = each.name in made or each.name in uplifted or is_list
        if not is_known or not each.is_file(follow_symlinks=False):
            yield each.path


def _of_unit(entry: os.DirEntry[bytes], hashes: Set[bytes]) -> Iterator[bytes]:
    """Beside what a script's compile, or its run, leaves in a directory of its own."""
    for each in _entries(entry.path):
        if each.name not in _OF_RUN and not each.name.startswith(b"build-script-") and not _has(each.name, hashes):
            yield each.path


def _is_output(name: bytes, hashes: Set[bytes], outputs: Set[bytes]) -> bool:
    return name in outputs or _has(name, hashes)


def _has(name: bytes, hashes: Set[bytes]) -> bool:
    found = _HASH.search(name)
    return found is not None and found[1] in hashes


def _stem(name: bytes) -> bytes:
    return os.path.splitext(name)[0]


def _is_profile(directory: bytes) -> bool:
    return os.path.isdir(os.path.join(directory, fingerprints.FINGERPRINTS))


def _entries(directory: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except OSError:
        return []
