"""Find the workspace and its target directory the way cargo does, without asking cargo.

What is not understood gives None: then nothing is placed, and cargo goes on as always.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kache.cargo.intent import NEW_LAYOUT, BuildIntent
from kache.core.digest import Digest, hash_parts

_CONFIG_NAMES = (b"config", b"config.toml")
Config = tuple[bytes, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Workspace:
    """A workspace about to be built.

    Attributes:
        root: directory of the root manifest, absolute.
        target_dir: where intermediate artifacts go (the build dir, where that is another one), absolute.
        identity: the same in every checkout of it: of the root package's name and the members as written.
    """

    root: bytes
    target_dir: bytes
    identity: Digest


def find(intent: BuildIntent, cwd: bytes, env: Mapping[bytes, bytes]) -> Workspace | None:
    """Find the workspace of a cargo command.

    Args:
        intent: its command line.
        cwd: its working directory.
        env: its environment.
    """
    if intent.config:
        return None  # may name anything, a file included
    start = os.path.join(cwd, intent.directory) if intent.directory else cwd
    manifest = _manifest(intent, start)
    if manifest is None:
        return None
    try:
        configs = list(_configs(start, env))
        if _is_aliased(intent.verb, configs, env) or _is_laid_out_anew(configs, env):
            return None
        root, text = _root(manifest)
        directory = _target_dir(intent, start, root, env, configs)
    except (OSError, ValueError):  # tomllib's errors are ValueErrors
        return None
    return None if directory is None else Workspace(root, directory, _identity(text))


def is_wrapped_by_kache(start: bytes, env: Mapping[bytes, bytes]) -> bool:
    """Whether cargo calls kache itself: another wrapper before it may add flags, of which cargo has no hash."""
    try:
        named = env.get(b"RUSTC_WRAPPER") or env.get(b"CARGO_BUILD_RUSTC_WRAPPER")
        named = named or _configured(_configs(start, env), "rustc-wrapper")
    except (OSError, ValueError):
        return False
    return named is None or os.path.basename(named) == b"kache"


def _manifest(intent: BuildIntent, start: bytes) -> bytes | None:
    if intent.manifest_path is not None:
        path = os.path.normpath(os.path.join(start, intent.manifest_path))
        return path if os.path.isfile(path) else None
    for directory in _upward(start):
        path = os.path.join(directory, b"Cargo.toml")
        if os.path.isfile(path):
            return path
    return None


def _root(manifest: bytes) -> tuple[bytes, dict[str, Any]]:
    """The root manifest's directory and content: the nearest one upward with a [workspace], else the package itself.

    A package that a workspace above excludes is its own root; that the workspace leaves it out is seen by its name in
    `exclude`, the rest (globs, path dependencies) cargo knows better: a wrong root finds nothing to place.
    """
    own = _read(manifest)
    if "workspace" in own:
        return os.path.dirname(manifest), own
    named = own.get("package", {}).get("workspace") if isinstance(own.get("package"), dict) else None
    if isinstance(named, str):
        root = os.path.normpath(os.path.join(os.path.dirname(manifest), os.fsencode(named)))
        return root, _read(os.path.join(root, b"Cargo.toml"))
    package_dir = os.path.dirname(manifest)
    for directory in _upward(os.path.dirname(package_dir)):
        path = os.path.join(directory, b"Cargo.toml")
        if os.path.isfile(path):
            above = _read(path)
            if "workspace" in above and not _excludes(above, directory, package_dir):
                return directory, above
    return package_dir, own


def _excludes(manifest: dict[str, Any], root: bytes, package_dir: bytes) -> bool:
    excluded = manifest["workspace"].get("exclude", []) if isinstance(manifest["workspace"], dict) else []
    paths = [os.path.normpath(os.path.join(root, os.fsencode(name))) for name in excluded if isinstance(name, str)]
    return any(package_dir == path or package_dir.startswith(path + b"/") for path in paths)


def _is_aliased(verb: bytes, configs: Iterable[Config], env: Mapping[bytes, bytes]) -> bool:
    """Whether somebody gave a short verb (`b`, `t`) another meaning."""
    name = os.fsdecode(verb)
    tables = [document.get("alias") for _, document in configs]
    return b"CARGO_ALIAS_" + verb.upper() in env or any(isinstance(table, dict) and name in table for table in tables)


def _is_laid_out_anew(configs: Iterable[Config], env: Mapping[bytes, bytes]) -> bool:
    """Whether a nightly cargo is told to lay out its directories in a way that is not known here."""
    name = os.fsdecode(NEW_LAYOUT)
    if env.get(b"CARGO_UNSTABLE_" + NEW_LAYOUT.replace(b"-", b"_").upper(), b"false") != b"false":
        return True
    tables = [document.get("unstable") for _, document in configs]
    return any(isinstance(table, dict) and table.get(name) for table in tables)


def _target_dir(
    intent: BuildIntent, start: bytes, root: bytes, env: Mapping[bytes, bytes], configs: Sequence[Config]
) -> bytes | None:
    """Build dir before target dir; command line before environment before configuration."""
    build_dir = env.get(b"CARGO_BUILD_BUILD_DIR") or _configured(configs, "build-dir")
    if build_dir:
        return None if b"{" in build_dir else os.path.join(start, build_dir)
    given = intent.target_dir or env.get(b"CARGO_TARGET_DIR") or env.get(b"CARGO_BUILD_TARGET_DIR")
    if given:
        return os.path.normpath(os.path.join(start, given))
    configured = _configured(configs, "target-dir")
    return configured or os.path.join(root, b"target")


def _configs(start: bytes, env: Mapping[bytes, bytes]) -> Iterator[Config]:
    """The configuration files that cargo reads, the nearest first: the directory that holds `.cargo`, and what it says.

    Raises:
        ValueError: one is not TOML, or includes others.
        OSError: one cannot be read.
    """
    home = env.get(b"CARGO_HOME") or os.path.join(env.get(b"HOME", b"/"), b".cargo")
    for directory in dict.fromkeys((*(os.path.join(above, b".cargo") for above in _upward(start)), home)):
        for name in _CONFIG_NAMES:
            path = os.path.join(directory, name)
            if os.path.isfile(path):
                document = _read(path)
                if "include" in document:
                    raise ValueError("files that a configuration includes are not followed")
                yield os.path.dirname(directory), document
                break


def _configured(configs: Iterable[Config], key: str) -> bytes | None:
    """A path of [build] in the nearest configuration file that has it, absolute."""
    for directory, document in configs:
        build = document.get("build", {})
        value = build.get(key) if isinstance(build, dict) else None
        if isinstance(value, str):
            return os.path.normpath(os.path.join(directory, os.fsencode(value)))
    return None


def _identity(manifest: dict[str, Any]) -> Digest:
    package = manifest.get("package", {})
    name = package.get("name", "") if isinstance(package, dict) else ""
    workspace = manifest.get("workspace", {})
    members = workspace.get("members", []) if isinstance(workspace, dict) else []
    return hash_parts([str(name).encode(), *(str(member).encode() for member in members)])


def _read(path: bytes) -> dict[str, Any]:
    import tomllib  # 3 ms that only a warm start pays

    with open(path, "rb") as file:
        return tomllib.load(file)


def _upward(directory: bytes) -> Iterator[bytes]:
    while True:
        yield directory
        parent = os.path.dirname(directory)
        if parent == directory:
            return
        directory = parent
