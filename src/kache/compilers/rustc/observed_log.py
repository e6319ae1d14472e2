"""What the observer noted of one compile: the filter it is given, and the records it gives back.

The grammar is docs/explanation/observed-inputs.md; the other side is native/launcher/observer/log.rs.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from kache.compilers.rustc.invocation import Invocation
from kache.compilers.rustc.toolchain import Toolchain

BEFORE, COMPILER, TOOL, OF_MACRO = b"0", b"1", b"2", b"3"
"""Roles: what stands in front of the compiler, the compiler, what it runs, what a macro runs."""

_HEAD = struct.Struct("<ccH")
_NEVER = (b"/proc/", b"/dev/", b"/sys/", b"/etc/ld.so.", b"/rustc/")
"""/rustc/ is where the standard library's sources would lie, had its builder's machine been this one."""
_SYSTEM_ROOTS = (b"", b"/usr", b"/usr/local")


class Record(NamedTuple):
    """One thing seen: kind and role are one byte each, text is an absolute path or a name."""

    kind: bytes
    role: bytes
    text: bytes


def toolchain_prefixes(sysroot: bytes) -> list[bytes]:
    """Paths of the toolchain's own files begin so."""
    sysroot = sysroot.rstrip(b"/")
    if sysroot not in _SYSTEM_ROOTS:
        return [sysroot + b"/lib", sysroot + b"/bin/"]  # lib64 and libexec, too
    return [sysroot + b"/lib/" + name for name in (b"rustlib/", b"librustc_driver", b"libLLVM", b"libstd-")]


def filter_for(call: Invocation, toolchain: Toolchain) -> bytes:
    """What the observer need not note: it saves time, no more; what counts is decided when recording."""
    programs = os.path.dirname(toolchain.real_rustc)
    rules = [b"C" + programs + b"/" + name for name in (b"rustc", b"clippy-driver")]
    rules += [b"T" + prefix for prefix in toolchain_prefixes(toolchain.sysroot)]
    rules += [b"P" + prefix for prefix in _NEVER]
    # What rustc looks for among the dependencies is in the key by content; its own files have names it makes up.
    for directory in dict.fromkeys((call.out_dir, *(s.path for s in call.search if s.kind == b"dependency"))):
        rules.append(b"L" + directory)
        rules += [b"P" + directory + b"/" + start for start in (b"lib", b"rmeta", b"rustc", b".tmp")]
    rules.append(b"P" + call.out_dir + b"/" + call.crate_name.encode() + call.extra_filename)
    rules += [b"L" + search.path for search in call.search]
    return b"".join(rule + b"\0" for rule in rules)


def parse(log: bytes) -> list[Record] | None:
    """The records in order; None if some are missing: memory ran out, or a process was killed while writing one."""
    if not log or log[0]:
        return None
    return list(_records(log)) if _is_whole(log) else None


def _records(log: bytes) -> Iterator[Record]:
    at = 1
    while at < len(log):
        kind, role, length = _HEAD.unpack_from(log, at)
        at += _HEAD.size
        yield Record(kind, role, log[at : at + length])
        at += (length + 3) & ~3


def _is_whole(log: bytes) -> bool:
    at = 1
    while at + _HEAD.size <= len(log):
        kind, _, length = _HEAD.unpack_from(log, at)
        if kind == b"\0":
            return False
        at += _HEAD.size + ((length + 3) & ~3)
    return at == len(log)


def encode(records: Iterable[Record]) -> bytes:
    """A log as the observer writes it, for tests."""
    parts = [b"\0"]
    for kind, role, text in records:
        parts += [_HEAD.pack(kind, role, len(text)), text, b"\0" * (-len(text) % 4)]
    return b"".join(parts)
