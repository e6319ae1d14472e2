"""What a build script's run told cargo."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from contextlib import suppress
from itertools import pairwise

from kache.cargo.fingerprints import FoundUnit
from kache.compilers.file_digests import FileDigests
from kache.core.digest import hash_parts
from kache.engine.warm_start.declared import tree

_SEARCH = re.compile(rb"^cargo::?rustc-link-search=(.*)$", re.MULTILINE)
_FLAGS = re.compile(rb"^cargo::?rustc-flags=(.*)$", re.MULTILINE)


def told_by(profile: bytes, run: FoundUnit, digests: FileDigests) -> bytes:
    """Digest of what a build script's run gave the units above it: flags, variables, metadata, files in OUT_DIR."""
    base = os.path.join(profile, b"build", run.directory)
    own_out = base + b"/out"
    try:
        files = ((path, digests.digest(path)) for path, found in tree(own_out) if stat.S_ISREG(found.st_mode))
        left = ((os.path.relpath(path, own_out), digest) for path, digest in files)
        return told(_read(base + b"/output"), _read(base + b"/root-output"), left)
    except OSError:
        return b""


def told(output: bytes, own_out: bytes, left: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """The same of the run's `output` and `root-output`, and of the files in OUT_DIR, path there and digest. Pure.

    Of the output the lines for cargo count: the others do not travel between machines. Lists for make count for nobody,
    and have paths in them.
    """
    lines = for_cargo(output)
    parts = [lines.replace(own_out, b"<out>") if own_out else lines]
    for name, digest in sorted(left):
        parts += [] if name.endswith(b".d") else [name, digest]
    return hash_parts(parts)


def for_cargo(output: bytes) -> bytes:
    """The lines of a run's `output` that are for cargo, without the space around them, which cargo takes away as well.

    Pure. Source: cargo `core/compiler/custom_build.rs`, `BuildOutput::parse`: a line that is not UTF-8 is none of them.
    """
    lines = []
    for line in output.split(b"\n"):
        with suppress(UnicodeDecodeError):
            lines.append(line.decode().strip())
    return "\n".join(line for line in lines if line.startswith("cargo:")).encode()


def links_outside(output: bytes, own_out: bytes) -> bool:
    """Whether a run has units linked with libraries that it did not make, but found on the system: undeclared."""
    output = for_cargo(output)
    searched = [path.partition(b"=")[2] if b"=" in path else path for path in _SEARCH.findall(output)]
    words = [word for flags in _FLAGS.findall(output) for word in flags.replace(b"-L", b" -L ").split()]
    searched += [path for word, path in pairwise(words) if word == b"-L"]
    if any(not (os.path.normpath(path) + b"/").startswith(own_out + b"/") for path in searched):
        return True
    return not searched and (b"rustc-link-lib" in output or bool(words))


def _read(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
