"""Build intent from cargo's own command line: does it build, and where."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

BUILDING = frozenset(
    {b"b", b"build", b"c", b"check", b"clippy", b"t", b"test", b"bench", b"r", b"run", b"nextest", b"rustc", b"fix"}
)
"""Verbs that compile the workspace. Any other (metadata, tree, fmt, install, an alias) places nothing."""

_TESTING = frozenset({b"t", b"test", b"bench", b"nextest"})
_CHECKING = frozenset({b"c", b"check", b"clippy", b"fix"})
_TARGETS = frozenset({b"--all-targets", b"--tests", b"--test", b"--benches", b"--bench", b"--examples", b"--example"})
_RELEASE = frozenset({b"--release", b"-r"})
_DIRECTORIES = {b"dev": b"debug", b"test": b"debug", b"bench": b"release"}
"""Profiles whose directory has another name. Source: cargo `core/profiles.rs`."""
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


_KNOWN = (
    _WITH_VALUE
    | _TARGETS
    | _RELEASE
    | {b"--lib", b"--bins", b"--workspace", b"--all", b"--all-features", b"--no-default-features", b"--keep-going"}
    | {b"--verbose", b"--quiet", b"--locked", b"--offline", b"--frozen", b"--ignore-rust-version", b"--timings"}
    | {b"--future-incompat-report", b"--no-run", b"--no-fail-fast", b"--doc", b"--fix", b"--allow-dirty", b"--no-deps"}
    | {b"--allow-staged", b"--allow-no-vcs", b"--edition", b"--broken-code", b"--unit-graph", b"--build-plan"}
    | {b"--artifact-dir", b"--out-dir", b"--output-format", b"-q", b"-v"}
)
NEW_LAYOUT = b"build-dir-new-layout"
"""Of cargo's unstable features: a directory for each unit, where nothing that was placed would be looked for."""
_KNOWN_SHORT = (b"-j", b"-F", b"-Z", b"-p")
"""With the value in the same word."""


@dataclass(frozen=True, slots=True)
class BuildIntent:
    """What a cargo command is about to do.

    Attributes:
        verb: the subcommand as typed.
        manifest_path: of --manifest-path, as typed.
        target_dir: of --target-dir, as typed.
        directory: of -C, as typed.
        config: values of --config, in order.
        profile: of --profile or --release, else what the verb takes.
        target: of --target, as typed.
        takes_all: targets are chosen by flags: examples, tests, benches or all.
    """

    verb: bytes
    manifest_path: bytes | None = None
    target_dir: bytes | None = None
    directory: bytes | None = None
    config: tuple[bytes, ...] = field(default=())
    profile: bytes = b"dev"
    target: bytes | None = None
    takes_all: bool = False

    @property
    def kind(self) -> str:
        """`build`, `test` or `check`, with `+` where flags choose targets: those of one kind compile the same units."""
        kind = "test" if self.verb in _TESTING else "check" if self.verb in _CHECKING else "build"
        return f"{kind}+" if self.takes_all else kind

    def profiles(self) -> tuple[str, ...]:
        """The directories below the target directory that it builds in: for a target, and for what runs here."""
        name = os.fsdecode(_DIRECTORIES.get(self.profile, self.profile))
        if self.target is None:
            return (name,)
        triple = os.path.basename(os.fsdecode(self.target)).removesuffix(".json")
        return (name, f"{triple}/{name}")


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
    said_v = 0
    takes_all = False
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
        if name not in _KNOWN and not word.startswith(_KNOWN_SHORT):
            return None  # help, or a mistake, or newer than this
        takes_all |= name in _TARGETS
        said_v += {b"-v": 1, b"--verbose": 1}.get(word, 0)
        if word in _RELEASE:
            found[b"--profile"] = b"release"
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
    if verb not in BUILDING or said_v > 1 or {NEW_LAYOUT, b"-Z" + NEW_LAYOUT} & {*words}:
        return None  # with -vv cargo shows what build scripts and dependencies say as they are built
    return BuildIntent(
        verb=verb,
        manifest_path=found.get(b"--manifest-path"),
        target_dir=found.get(b"--target-dir"),
        directory=found.get(b"-C"),
        config=tuple(config),
        profile=found.get(b"--profile") or (b"bench" if verb == b"bench" else b"dev"),
        target=found.get(b"--target"),
        takes_all=takes_all,
    )
