"""Whether what a build left has the paths of its checkout in it: it then fits no other one."""

from __future__ import annotations

import os
import re

from kache.compilers.rustc import depinfo
from kache.compilers.rustc.roots import Roots

_PLAIN = re.compile(rb"[A-Za-z0-9_./-]+$")
_WORD = rb"(?:(?<![A-Za-z0-9_])|(?<=%%2F)|(?<=%%2f))%b(?![A-Za-z0-9_])"
_MIN_WORD = 2
"""A directory of one letter has its name in every text."""


class OwnPaths:
    """The paths of one checkout.

    Args:
        root: of the workspace.
        cargo_home: absolute; where it is another one nothing of its packages is placed at all.
        roots: of a compile.
    """

    def __init__(self, root: bytes, cargo_home: bytes, roots: Roots) -> None:
        self._root = root
        self._cargo_home = cargo_home
        self._roots = roots

    def are_in(self, text: bytes) -> bool:
        """Whether a list of cargo's has one of them in it."""
        text = text.replace(self._cargo_home + b"/registry/", b"")
        return any(needle in text for needle in (*self._roots.needles(), self._root + b"/"))

    def show_in(self, text: bytes) -> bool:
        """Whether what a script left has one of them in it, or the workspace's name, in whatever form it was written.

        A script is handed OUT_DIR, and may take the workspace from it. Make, JSON and URLs escape some letters:
        where a path has such a letter, nothing tells whether it is there.
        """
        if not _PLAIN.match(self._root):
            return bool(text)
        text = text.replace(self._cargo_home + b"/registry/", b"")
        return any(needle in text for needle in self.needles()) or self._is_named(text)

    def needles(self) -> tuple[bytes, ...]:
        """What to look for in a large file that a script left."""
        return (*self._roots.needles(), self._root)

    def _is_named(self, text: bytes) -> bool:
        name = os.path.basename(self._root)
        return len(name) >= _MIN_WORD and re.search(_WORD % re.escape(name), text) is not None

    def list_for_make(self, content: bytes) -> tuple[bytes, bool]:
        """What a compiler listed for make, which a probe of a script leaves behind: with placeholders for paths.

        Returns:
            The text, and whether it has placeholders in it.
        """
        pairs = self._roots.pairs()
        try:
            template = depinfo.template(content, pairs)
            is_whole = template != content and depinfo.fill(template, pairs) == content
        except depinfo.DepInfoError:
            return content, False
        return (template, True) if is_whole and _PLAIN.match(self._root) else (content, False)
