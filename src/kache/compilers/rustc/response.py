"""`@file` arguments, expanded as rustc does: one argument a line, not nested."""

from __future__ import annotations

import os
from collections.abc import Sequence

from kache.compilers.rustc.invocation import Refusal
from kache.core.outcome import Reason

# Linux takes 2 MiB of arguments and environment together (a quarter of the usual stack); half is left to the latter.
_ARGV_BYTES = 1 << 20


def expand(args: Sequence[bytes], cwd: bytes) -> list[bytes] | Refusal:
    """Arguments with every `@file` replaced by its lines."""
    expanded: list[bytes] = []
    for arg in args:
        if arg[:1] != b"@":
            expanded.append(arg)
            continue
        try:
            with open(os.path.join(cwd, arg[1:]), "rb") as file:
                text = file.read()
            text.decode()
        except (OSError, UnicodeDecodeError, ValueError) as error:
            return Refusal(Reason.RESPONSE_FILE, f"{os.fsdecode(arg)}: {error}")
        *lines, last = text.split(b"\n")
        expanded += [line.removesuffix(b"\r") for line in lines]
        if last:  # without a newline its carriage return stays, as in Rust's lines()
            expanded.append(last)
        if sum(map(len, expanded)) + 9 * len(expanded) > _ARGV_BYTES:
            return Refusal(Reason.RESPONSE_FILE, "too many arguments to pass them without the file")
    return expanded
