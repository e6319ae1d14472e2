"""Split what is given for the linker into raw bytes and a path that may be normalised."""

from __future__ import annotations

import re

from kache.compilers.rustc.invocation import KeyArg

# Options whose path the linker reads and does not write into its output. Any other (-rpath, -soname, -dynamic-linker,
# -Map, ...) stays raw: what it names is baked in or written.
_JOINED = re.compile(
    rb"(-L|-B|-T|-fuse-ld=|--ld-path=|-Wl,-T,?|-Wl,--(?:version-script|dynamic-list|script|retain-symbols-file)[=,])(/[^,]*)"
)
_WANTS_PATH = frozenset({b"-L", b"-T", b"-B", b"--script", b"--version-script", b"--dynamic-list", b"-Wl,-T"})

# Linker options that write a file, in the spellings of gcc, ld, lld, mold, ld64 and link.exe.
_WRITES = re.compile(
    rb"(?:^|[\s,])(?:--?(?:Map|cref|dependency-file|lto-obj-path|out-implib|pdb|print-archive-stats|print-gc-sections="
    rb"|print-symbol-order|reproduce|repro|save-temps|time-trace|why-extract|why_load|map|dependency_info|object_path_lto"
    rb"|thinlto-index|thinlto-emit|lto-emit|cgdata|order_file_statistics|trace_symbol_layout|dump|stats)"
    rb"|-plugin-opt|--plugin-opt|-o(?:[\s,/]|$)|/(?:MAP|PDB|IMPLIB|ILK|TIME|LTCGOUT|PGD|WINMD|PROFILE|MANIFESTFILE|OUT)\b)",
)


def writes_files(value: bytes) -> bool:
    """Whether a value given for the linker makes it write more than its output."""
    return _WRITES.search(value) is not None


def split_link_arg(option: bytes, value: bytes, previous: bytes | None) -> KeyArg:
    """Key argument of one `-C link-arg=VALUE`.

    Args:
        option: canonical option with its `=`.
        value: as given.
        previous: value of the link argument before this one: it may be an option that takes this one.
    """
    if value[:1] == b"/":
        alone = previous is None or previous[:1] != b"-" or previous in _WANTS_PATH
        return KeyArg(option, value) if alone else KeyArg(option + value, None)
    if found := _JOINED.fullmatch(value):
        return KeyArg(option + found[1], found[2])
    return KeyArg(option + value, None)
