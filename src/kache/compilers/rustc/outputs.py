"""What a finished compile left behind: read from its own artifact notifications, so that no file name is guessed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from kache.compilers.rustc.invocation import Invocation
from kache.core.entry import Role

_MARKS = (b'{"$message_type":"artifact"', b'{"artifact":')
"""How rustc starts a notification: since 1.76, and before."""


@dataclass(slots=True)
class Messages:
    """What stderr of a compile says.

    Attributes:
        artifacts: (path as rustc names it, emit kind), in order.
        has_diagnostics: there is anything beside notifications.
        has_more_files: rustc says it wrote a file that it does not announce (a type's full name, for one).
    """

    artifacts: list[tuple[bytes, str]] = field(default_factory=list)
    has_diagnostics: bool = False
    has_more_files: bool = False


def read_messages(stderr: bytes) -> Messages:
    """Find the notifications in what rustc printed."""
    found = Messages()
    for line in stderr.splitlines():
        if line.startswith(_MARKS):
            try:
                message = json.loads(line)
                found.artifacts.append((os.fsencode(message["artifact"]), str(message["emit"])))
                continue
            except (ValueError, KeyError, UnicodeError):
                pass
        if line.strip():
            found.has_diagnostics = True
            found.has_more_files |= b" has been written to " in line
    return found


def without_notifications(stderr: bytes) -> bytes:
    """The messages for a caller that did not ask for notifications."""
    return b"".join(line for line in stderr.splitlines(keepends=True) if not line.startswith(_MARKS))


def role_of(path: bytes, emit: str) -> Role:
    """How an output is stored and restored."""
    if emit == "metadata":
        return Role.RMETA
    if path.endswith(b".rlib"):
        return Role.RLIB
    return Role.LINKED


def debug_files(call: Invocation, linked: list[bytes], started_ns: int) -> Iterator[bytes]:
    """Split debug info that belongs to the outputs; rustc does not announce it.

    Packed: `<output>.dwp` beside each linked file. Unpacked: `<crate><extra>.*.dwo` in the out dir, where those of an
    earlier compile with another number of codegen units may lie too: they are older than `started_ns`.
    """
    if call.split_debuginfo in (None, "off"):
        return
    for path in linked:
        if _written_since(path + b".dwp", started_ns):
            yield path + b".dwp"
    prefix = call.crate_name.encode() + call.extra_filename + b"."
    for name in sorted(os.listdir(call.out_dir)):
        path = call.out_dir + b"/" + name
        if name.startswith(prefix) and name.endswith(b".dwo") and _written_since(path, started_ns):
            yield path


def _written_since(path: bytes, started_ns: int) -> bool:
    try:
        return os.stat(path).st_mtime_ns >= started_ns
    except OSError:
        return False


def existing_outputs(call: Invocation) -> list[bytes]:
    """Outputs of an earlier compile that have other names (a hardlink into the store, cargo's uplift).

    A linker may write into the inode it finds, so these are unlinked before rustc runs.
    """
    stem = call.crate_name.encode() + call.extra_filename
    candidates = (
        b"lib%s.rlib",
        b"lib%s.rmeta",
        b"lib%s.so",
        b"lib%s.a",
        b"lib%s.dylib",
        b"%s",
        b"%s.exe",
        b"%s.wasm",
        b"%s.d",
    )
    shared = []
    for pattern in candidates:
        path = call.out_dir + b"/" + pattern % stem
        try:
            if os.lstat(path).st_nlink > 1:
                shared.append(path)
        except OSError:
            continue
    return shared
