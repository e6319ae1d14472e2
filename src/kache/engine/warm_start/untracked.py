"""What was read that cargo does not track.

In a fresh target cargo asks for the compiler once, and what later commands may want is put there as well. A macro's
`.env` may come, or its migrations grow, before the command that asks for its unit: cargo finds it fresh all the same,
where it would have compiled it only then. So nothing that looked at such is placed, nor what is built on it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator

from kache.compilers.rustc.closure import ENVIRONMENT, Surroundings, shadow_of
from kache.compilers.rustc.programs import path_dirs
from kache.compilers.rustc.roots import Roots, is_package
from kache.core.entry import Entry, InputKind, InputMemo, MemoInput

_OF_TOOLS = frozenset(
    b"QNX_TARGET BINUTILS_ROOT FORCE_LLD_DIAGNOSTICS_CRASH GCC_ROOT LLD_IN_TEST LLD_REPRODUCE LLD_VERSION LPATH "
    b"VCINSTALLDIR COLLECT_NO_DEMANGLE LIBCTF_DEBUG SYM64_THRESHOLD RUSTC_RETRY_LINKER_ON_SEGFAULT".split()
)
"""What rustc, LLVM, gcc and linkers read in every compile, whoever set it; the values are compared like all others."""
_NEWLY_TRACKED = frozenset(
    b"CARGO_PKG_LICENSE CARGO_PKG_LICENSE_FILE CARGO_PKG_README CARGO_PKG_RUST_VERSION CARGO_MANIFEST_LINKS".split()
)
"""Of `env!`, cargo 1.65 does not compare these, cargo 1.95 does."""
_OF_MACHINE = re.compile(rb"/usr/(?!(local/)?src/)|/(lib(32|64)?|bin|sbin|etc|nix/store|gnu/store)/|<sysroot>")
_OF_UNITS = re.compile(rb"<target>/([^/]+/){1,2}(deps|build|examples)(/|$)")
_SEARCHED = re.compile(rb"/(rustc|clippy-driver|-l[^/]*|lib[^/]*\.(so[.0-9]*|a))$")
"""What compilers and linkers look for in vain wherever they start."""
_PLACES = (InputKind.FILE, InputKind.ABSENT, InputKind.DIRECTORY, InputKind.PRESENT)


def reads_untracked(memo: InputMemo, entry: Entry, around: Surroundings) -> bool:
    """Whether a compile read variables or places that its dep-info does not name, and that are not the machine's.

    Args:
        memo: what it read.
        entry: what it made.
        around: the call.
    """
    if any(item.kind == InputKind.READ and item.name not in _OF_TOOLS for item in memo.inputs):
        return True
    if any(item.kind == InputKind.FACT and item.name == ENVIRONMENT for item in memo.inputs):
        return True
    if any(item.kind == InputKind.ENV and item.name in _NEWLY_TRACKED for item in memo.inputs):
        return True
    sources = _sources(entry, around.roots)
    shadows = {shadow_of(source) for source in sources}
    shadows |= {os.path.dirname(each) for each in shadows}  # where the directory is missing too, it stands for the file
    for item in _of_people(memo.inputs, around):
        if item.kind == InputKind.ABSENT and (item.name in shadows or _SEARCHED.search(item.name)):
            continue
        if item.name not in sources and not _is_above(item, sources):
            return True
    return False


def undeclared(
    inputs: Iterable[MemoInput], declared: Collection[bytes], asked: Collection[str], around: Surroundings
) -> bytes:
    """The first thing that a watched run of a build script looked at without declaring it to cargo, empty if none.

    The whole environment, which every script takes that starts a program, is none: what programs ask for was seen.

    Args:
        inputs: what it looked at.
        declared: paths, normalised; a directory stands for all below.
        asked: variables.
        around: of the run.
    """
    inputs = tuple(inputs)
    for item in inputs:
        if item.kind == InputKind.READ and os.fsdecode(item.name) not in asked and item.name not in _OF_TOOLS:
            return item.name
    for item in _of_people(inputs, around):
        is_declared = any(item.name == each or item.name.startswith(each + b"/") for each in declared)
        if not is_declared and not _is_above(item, declared):
            return item.name
    return b""


def _of_people(inputs: Iterable[MemoInput], around: Surroundings) -> Iterator[MemoInput]:
    """Places that are neither the machine's, programs on PATH included, nor a package's, nor a unit's."""
    programs = path_dirs(around.env)
    for item in inputs:
        if item.kind not in _PLACES or _OF_MACHINE.match(item.name) or is_package(item.name):
            continue
        if not _OF_UNITS.match(item.name) and os.path.dirname(around.roots.real(item.name)) not in programs:
            yield item


def _is_above(item: MemoInput, names: Iterable[bytes]) -> bool:
    """Whether it is a directory, only asked for, that is there as long as what is below it."""
    return item.kind == InputKind.PRESENT and any(name.startswith(item.name + b"/") for name in names)


def _sources(entry: Entry, roots: Roots) -> set[bytes]:
    """What the dep-info names, as memos do: each path has a line of its own there, with a colon behind it."""
    lines = (line[:-1].replace(b"\\ ", b" ") for line in entry.dep_info.split(b"\n") if line[-1:] == b":")
    return {line if line[:1] == b"<" else roots.normalise(line) for line in lines if line[:1] != b"#"}
