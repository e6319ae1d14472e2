"""Inputs beside a root: where a search upward, or a path with `..`, leads to depends on where that root lies.

A macro that looks for `.env` in every directory above the package finds another one from another checkout. What it was
called there cannot be told from a path that was absolute from the beginning, so what lies beside a root ties the
compile to the directory the root is in: checkouts side by side share it.
"""

from __future__ import annotations

import os

from kache.compilers.rustc.roots import Roots

ABOVE = b"above "
"""How the name of the fact begins: the real path of the directory that a root is in."""
_MOVED_ABOUT = (b"<cwd>", b"<target>", b"<cargo-home>")
"""Roots that lie somewhere else elsewhere, and have a name of their own in keys."""
_OF_ALL = (b"/", b"/usr", b"/usr/local")
"""Directories that everything is below: only what lies right in them may have been met on the way up."""


def above(path: bytes, roots: Roots, *, is_directory: bool, is_listed: bool = False) -> list[bytes]:
    """Names of the facts that an input ties a compile to.

    Args:
        path: real path of the input.
        roots: the call's.
        is_directory: it is a directory.
        is_listed: not only that it is there counts, but what is in it.
    """
    name = roots.normalise(path)
    if name[:1] == b"<" and not name.startswith(b"<home>"):
        return []
    found = []
    moved = [root for root in roots.all if root.placeholder in _MOVED_ABOUT]
    for root in moved:
        if root.placeholder == b"<cargo-home>" and name[:1] == b"<":
            continue
        if any(root.path.startswith(other.path + b"/") for other in moved):
            continue  # what lies beside it lies in the other one, or beside that
        if is_directory and not is_listed and (root.path + b"/").startswith(path.rstrip(b"/") + b"/"):
            continue  # it is there wherever the root is
        common = os.path.commonpath((path, root.path))
        is_met = os.path.dirname(path) == common and not (is_directory and common == b"/")
        if is_met or common not in _OF_ALL:
            found.append(ABOVE + root.placeholder)
    return found
