"""Does a path in a variable get into the artifact, or does it only say where to include files from?

`env!("OUT_DIR")` may end up in the artifact in a form no search finds (its length, a hash). So whatever may have
expanded to it is read: the crate's own sources, and the macros of every crate it can use. Each mention must be
`include…!(concat!(env!("NAME"), …))` or `include…!(env!("NAME"))`, and there must be one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# A name put together from pieces shows nowhere.
_COMPUTED = re.compile(rb"env\s*!\s*[(\[{]\s*(?:concat|stringify)\b")
# To the closing bracket under the `m` of macro_rules, as everybody formats it; in doubt the rest of the file.
_MACRO = re.compile(rb"^([ \t]*)macro_rules!.*?(?:^\1[)\]}]|\Z)|macro_rules!.*", re.DOTALL | re.MULTILINE)
_PROC_MACRO = re.compile(rb"\bproc_macro\w*\b")


class Mentions:
    """Counts how the texts of some sources mention one variable.

    Args:
        name: of the variable.
    """

    def __init__(self, name: bytes) -> None:
        self._literal = b'"' + name + b'"'
        quoted = re.escape(self._literal)
        self._expanded = re.compile(rb"env\s*!\s*[(\[{]\s*" + quoted)
        self._included = re.compile(
            rb"(?<![A-Za-z0-9_])include(?:_str|_bytes)?\s*!\s*[(\[{]\s*(?:concat\s*!\s*[(\[{]\s*)?env\s*!\s*[(\[{]\s*"
            + quoted
        )
        self._mentions = self._includes = self._computed = 0

    def add_own(self, sources: Iterable[bytes]) -> None:
        """The crate's own sources: any mention counts, a macro of its own may make anything of the name.

        Raises:
            OSError: one cannot be read.
        """
        for path in sources:
            text = _text(path)
            if self._may_mention(text):
                self._count(text, text.count(self._literal))

    def add_macros(self, sources: Iterable[bytes]) -> None:
        """Sources of crates whose macros it can use: what these expand to counts, not what they do for themselves.

        Raises:
            OSError: one cannot be read.
        """
        for path in sources:
            text = _text(path)
            if not self._may_mention(text):
                continue
            macros = [text] if _PROC_MACRO.search(text) else [found[0] for found in _MACRO.finditer(text)]
            for macro in macros:
                self._count(macro, len(self._expanded.findall(macro)))

    def _may_mention(self, text: bytes) -> bool:
        """Whether counting can come to anything: hundreds of sources are read for a unit, and one in a hundred does."""
        return self._literal in text or (
            (b"concat" in text or b"stringify" in text) and _COMPUTED.search(text) is not None
        )

    def _count(self, text: bytes, mentions: int) -> None:
        self._mentions += mentions
        self._includes += len(self._included.findall(text))
        self._computed += len(_COMPUTED.findall(text))

    @property
    def only_includes(self) -> bool:
        """Whether every mention so far includes a file; false if there is none."""
        return self._mentions > 0 and self._mentions == self._includes and not self._computed

    @property
    def may_include(self) -> bool:
        """Whether nothing so far speaks against it."""
        return self._mentions == self._includes and not self._computed


def _text(path: bytes) -> bytes:
    with open(path, "rb") as file:
        return file.read()
