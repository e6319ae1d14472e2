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
