"""Put real paths back in what rustc printed; the launcher does the same (`native/launcher/src/replace.rs`)."""

from __future__ import annotations

import re
from collections.abc import Sequence

_CONTINUES_COMPONENT = rb"[A-Za-z0-9._\-+~@\x80-\xff]"


def replace(text: bytes, replacements: Sequence[bytes]) -> bytes:
    """Apply `Run.replacements` in order, each where a byte that ends a path component follows, or the end of the text.

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
