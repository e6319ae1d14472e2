"""The sources of a workspace in groups, each with a digest: what tells whether a unit can still be what it was.

A group is what one kind of target of one package is compiled of: all .rs files below `src`, below `tests` and so on, or
a single file beside Cargo.toml (build.rs); of a library without src/main.rs and src/bin, which are programs beside it.
It says less than a compile's own closure, and can be known before anything was ever compiled here; a plan that is wrong
because of it wastes bytes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from kache.core.digest import hash_file, hash_parts
from kache.core.usage import ORIGIN_BYTES

MAX_FILES = 30_000
_LIBRARY = b"src/lib.rs"
_SKIPPED = frozenset({b"target", b"node_modules"})


def group_id(package: bytes, source: bytes) -> bytes:
    """Id of the group that a root source belongs to.

    Args:
        package: directory of the package, relative to the workspace.
        source: the root source, relative to the package.
    """
    return _id(package, _LIBRARY if source == b"src/lib.rs" else source.partition(b"/")[0])


def digests(root: bytes, target_dir: bytes) -> dict[bytes, bytes]:
    """Group to digest of everything in it; empty for a tree of more than `MAX_FILES` sources.

    Args:
        root: of the workspace.
        target_dir: where not to look.
    """
    files: dict[bytes, list[bytes]] = {}
    for count, (package, path) in enumerate(_sources(root, target_dir)):
        if count >= MAX_FILES:
            return {}
        groups = [path.partition(b"/")[0]]
        if groups == [b"src"] and path != b"src/main.rs" and not path.startswith(b"src/bin/"):
            groups.append(_LIBRARY)
        for group in groups:
            files.setdefault(_id(package, group), []).append(os.path.join(package, path))
    found = {}
    for group, paths in files.items():
        parts: list[bytes] = []
        for path in sorted(paths):
            try:
                parts += [path, hash_file(os.path.join(root, path))]
            except OSError:
                parts += [path, b""]
        found[group] = hash_parts(parts)[:ORIGIN_BYTES]
    return found


def _sources(root: bytes, target_dir: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(package, file in it) of every .rs file; it belongs to the nearest directory above with a Cargo.toml."""
    package_of: dict[bytes, bytes] = {}
    for directory, names, files in os.walk(root):
        names[:] = sorted(
            name
            for name in names
            if name not in _SKIPPED and name[:1] != b"." and os.path.join(directory, name) != target_dir
        )
        package = directory if b"Cargo.toml" in files else package_of.get(os.path.dirname(directory), root)
        package_of[directory] = package
        for name in files:
            if name.endswith(b".rs"):
                yield _below(package, root), _below(os.path.join(directory, name), package)


def _below(path: bytes, top: bytes) -> bytes:
    return path[len(top) :].lstrip(b"/")


def _id(package: bytes, group: bytes) -> bytes:
    return hash_parts([b"sources", package, group])[:ORIGIN_BYTES]
