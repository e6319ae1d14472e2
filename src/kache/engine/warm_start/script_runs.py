"""What a build script's run told cargo."""

from __future__ import annotations

import os
import re
from itertools import pairwise

from kache.cargo.fingerprints import FoundUnit
from kache.core.digest import hash_parts

_TOLD = re.compile(rb"^cargo:.*$", re.MULTILINE)
_SEARCH = re.compile(rb"^cargo::?rustc-link-search=(.*)$", re.MULTILINE)
_FLAGS = re.compile(rb"^cargo::?rustc-flags=(.*)$", re.MULTILINE)


def told_by(profile: bytes, run: FoundUnit) -> bytes:
    """Digest of what a build script's run told cargo: flags, variables and metadata for the units above it."""
    base = os.path.join(profile, b"build", run.directory)
    try:
        return told(_read(base + b"/output"), _read(base + b"/root-output"))
    except OSError:
        return b""


def told(output: bytes, own_out: bytes) -> bytes:
    """The same of the run's `output` and `root-output`: of the lines that are for cargo. Pure."""
    lines = b"\n".join(_TOLD.findall(output))
    return hash_parts([lines.replace(own_out, b"<out>") if own_out else lines])


def links_outside(output: bytes, own_out: bytes) -> bool:
    """Whether a run has units linked with libraries that it did not make, but found on the system: undeclared."""
    searched = [path.partition(b"=")[2] if b"=" in path else path for path in _SEARCH.findall(output)]
    words = [word for flags in _FLAGS.findall(output) for word in flags.replace(b"-L", b" -L ").split()]
    searched += [path for word, path in pairwise(words) if word == b"-L"]
    if any(path != own_out and not path.startswith(own_out + b"/") for path in searched):
        return True
    return not searched and (b"rustc-link-lib" in output or bool(words))


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
