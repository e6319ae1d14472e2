"""Which packages of a lock file a choice of features can want: those that only features left out lead to are not.

For plans alone: it looks at one package's own features, not at those of its dependencies, so what it gives may be too
much, and where it cannot tell (workspaces of several members, all features) it gives everything.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

MAX_BYTES = 4 << 20
Package = tuple[str, str]
_TABLES = ("dependencies", "build-dependencies")
_DEV = "dev-dependencies"


def reachable(
    root: bytes, needs: Mapping[Package, Sequence[str]], members: Sequence[Package], chosen: Sequence[str], *, dev: bool
) -> frozenset[Package] | None:
    """Packages that can be wanted.

    Args:
        root: of the workspace.
        needs: of each package of the lock file the dependencies, as it writes them.
        members: packages without a source.
        chosen: features as in `kache.core.usage.Intent`.
        dev: what tests need counts.

    Returns:
        Names and versions; None where that cannot be told.
    """
    if len(members) != 1 or "+*" in chosen:
        return None
    manifest = _manifest(root)
    if manifest is None or manifest.get("package", {}).get("name") != members[0][0]:
        return None
    wanted, left = _split(manifest, chosen, dev=dev)
    dropped = left - wanted
    first = [text for text in needs.get(members[0], ()) if text.split(" ", 1)[0] not in dropped]
    return _closure(members[0], first, needs)


def _manifest(root: bytes) -> dict[str, Any] | None:
    import tomllib

    try:
        with open(os.path.join(root, b"Cargo.toml"), "rb") as file:
            return tomllib.loads(file.read(MAX_BYTES).decode())
    except (OSError, ValueError, RecursionError):
        return None


def _split(manifest: Mapping[str, Any], chosen: Sequence[str], *, dev: bool) -> tuple[set[str], set[str]]:
    """Names of packages that a choice of features wants, and of those that it leaves out; some may be in both."""
    features: dict[str, list[str]] = manifest.get("features", {})
    on = _enabled(features, chosen)
    wanted: set[str] = set()
    left: set[str] = set()
    for table, name, value in _dependencies(manifest):
        is_table = isinstance(value, dict)
        package = str(value.get("package", name)) if is_table else name
        is_optional = is_table and value.get("optional", False)
        is_wanted = (name in on or not is_optional) and (dev or table != _DEV)
        (wanted if is_wanted else left).add(package)
    return wanted, left


def _dependencies(manifest: Mapping[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(table, name, what it says) of every dependency, those of single targets included."""
    for part in (manifest, *manifest.get("target", {}).values()):
        for table in (*_TABLES, _DEV):
            for name, value in part.get(table, {}).items():
                yield table, name, value


def _enabled(features: Mapping[str, Sequence[str]], chosen: Iterable[str]) -> set[str]:
    """Features and dependencies that are on."""
    words = [word[1:].rpartition("/")[2] for word in chosen if word.startswith("+")]
    waiting = [*words, *([] if "-*" in chosen else ["default"])]
    on: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in on:
            continue
        on.add(name)
        for item in features.get(name, ()):
            dependency, slash, _ = item.partition("/")
            if not dependency.endswith("?"):
                waiting.append(dependency.removeprefix("dep:") if slash else item.removeprefix("dep:"))
    return on


def _closure(root: Package, first: Sequence[str], needs: Mapping[Package, Sequence[str]]) -> frozenset[Package]:
    versions: dict[str, list[str]] = {}
    for name, version in needs:
        versions.setdefault(name, []).append(version)
    found = {root}
    waiting = list(first)
    while waiting:
        name, _, rest = waiting.pop().partition(" ")
        version = rest.split(" ", 1)[0]
        for each in [version] if version else versions.get(name, []):
            package = name, each
            if package not in found:
                found.add(package)
                waiting += needs.get(package, ())
    return frozenset(found)
