"""Replace paths in texts; the launcher puts real ones back as `put_back` does (`native/launcher/src/replace.rs`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTINUES_COMPONENT = rb"[A-Za-z0-9._\-+~@\x80-\xff]"
_INSIDE_PATH = re.compile(rb"[A-Za-z0-9._\-+~@/\x80-\xff]\Z")
# The end of JSON's `\n`, or of a colour.
_ESCAPE = re.compile(rb"(?:\\[nrt]|\[[0-9;]*m)\Z")
_LOOK_BACK = 32


def replace(text: bytes, replacements: Sequence[bytes]) -> bytes:
    """Apply replacements in order, each where a byte that ends a path component follows, or the end of the text.

    Args:
        text: any number of whole lines.
        replacements: flat: what to look for, what to put in its place, and so on.
    """
    for old, new in zip(replacements[::2], replacements[1::2], strict=True):
        if old and old in text:
            # A backslash in a path is no group of the pattern.
            escaped = new.replace(b"\\", rb"\\")
            text = re.sub(re.escape(old) + rb"(?!" + _CONTINUES_COMPONENT + rb")", escaped, text)
    return text


def put_back(text: bytes, replacements: Sequence[bytes]) -> bytes:
    """Apply `Run.replacements` in order, as the launcher does: only where a path begins, too.

    What is looked for is short (`/cargo`) and may be part of an address or of another path.

    Args:
        text: any number of whole lines.
        replacements: flat: what to look for, what to put in its place, and so on.
    """
    for old, new in zip(replacements[::2], replacements[1::2], strict=True):
        if old and old in text:
            text = _replace_starts(text, old, new)
    return text


def _replace_starts(text: bytes, old: bytes, new: bytes) -> bytes:
    def one(found: re.Match[bytes]) -> bytes:
        before = text[max(found.start() - _LOOK_BACK, 0) : found.start()]
        inside = _INSIDE_PATH.search(before) and not _ESCAPE.search(before)
        return found[0] if inside else new

    return re.sub(re.escape(old) + rb"(?!" + _CONTINUES_COMPONENT + rb")", one, text)
