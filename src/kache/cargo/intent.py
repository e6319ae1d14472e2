"""Build intent from cargo's own command line: does it build, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

BUILDING = frozenset(
    {b"b", b"build", b"c", b"check", b"clippy", b"t", b"test", b"bench", b"r", b"run", b"nextest", b"rustc", b"fix"}
)
"""Verbs that compile the workspace. Any other (metadata, tree, fmt, install, an alias) places nothing."""

_WITH_VALUE = frozenset(
    {b"--manifest-path", b"--target-dir", b"--config", b"-C", b"--profile", b"--target", b"-Z", b"--color", b"-p"}
    | {
        b"--package",
        b"--features",
        b"-F",
        b"--bin",
        b"--example",
        b"--test",
        b"--bench",
        b"--exclude",
        b"-j",
        b"--jobs",
    }
    | {b"--message-format", b"--lockfile-path"}
)


@dataclass(frozen=True, slots=True)
class BuildIntent:
    """What a cargo command is about to do.

    Attributes:
        verb: the subcommand as typed.
        manifest_path: of --manifest-path, as typed.
        target_dir: of --target-dir, as typed.
        directory: of -C, as typed.
        config: values of --config, in order.
    """

    verb: bytes
    manifest_path: bytes | None = None
    target_dir: bytes | None = None
    directory: bytes | None = None
    config: tuple[bytes, ...] = field(default=())


def read(argv: Sequence[bytes]) -> BuildIntent | None:
    """Read cargo's argv.

    Returns:
        None for a command that builds nothing, or that is not understood: then nothing is placed.
    """
    words = list(argv[1:])
    if words and words[0][:1] == b"+":  # rustup's proxy takes this word; a wrapper script may leave it
        del words[0]
    found: dict[bytes, bytes] = {}
    config: list[bytes] = []
    verb = b""
    at = 0
    while at < len(words):
        word = words[at]
        at += 1
        if word == b"--":
            break
        name, equals, value = word.partition(b"=")
        if word[:1] != b"-":
            verb = verb or word
            continue
        if name not in _WITH_VALUE:
            continue
        if not equals:
            if at >= len(words):
                return None
            value = words[at]
            at += 1
        if name == b"--config":
            config.append(value)
        else:
            found[name] = value
    if verb not in BUILDING:
        return None
    return BuildIntent(verb, found.get(b"--manifest-path"), found.get(b"--target-dir"), found.get(b"-C"), tuple(config))
