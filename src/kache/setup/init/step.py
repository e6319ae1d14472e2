"""What one part of the setup would do."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kache.config.load import Config


class State(enum.StrEnum):
    """Where a step stands."""

    DONE = "done"
    CHANGE = "change"
    SKIP = "skip"
    """Not wanted here, or not possible; the rest goes on without it."""
    BLOCKED = "blocked"
    """Needed and not possible: nothing of the plan is applied."""


@dataclass(frozen=True, slots=True)
class Key:
    """The one key of a TOML file that a step sets, so that it can be taken back when the file changed meanwhile."""

    table: str
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Write:
    """A file a step writes; `key` where only that key is ours, `mode` where it must be that."""

    path: Path
    content: bytes
    key: Key | None = None
    mode: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One part of the plan.

    Attributes:
        name: kebab-case, for scripts.
        state: where it stands.
        what: what is so, or would be done; one line.
        why: of a skip or a blocked step.
        fix: what the user can do about that.
        warnings: what will keep the step from having its effect.
        question: to be answered with yes before the plan is applied, beside the plan's own.
        writes: files.
        after: what is run when the files are there.
    """

    name: str
    state: State
    what: str
    why: str = ""
    fix: str = ""
    warnings: tuple[str, ...] = ()
    question: str = ""
    writes: tuple[Write, ...] = ()
    after: Callable[[], None] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "name": self.name,
            "state": str(self.state),
            "what": self.what,
            "why": self.why,
            "fix": self.fix,
            "warnings": list(self.warnings),
            "files": [str(write.path) for write in self.writes],
        }


@dataclass(frozen=True, slots=True)
class Wishes:
    """Where and how to set up.

    Attributes:
        env: the caller's environment.
        cwd: its directory, None if that is gone.
        config: kache's configuration.
        launcher: the program cargo shall call, None if there is none.
        service: a login service is wanted.
        completions: a shell's name -> its completion script; empty when none are wanted.
        cargo_shim: a `cargo` that runs the real one by `kache cargo` is wanted.
        git_hooks: hooks in the repository here are wanted.
    """

    env: Mapping[str, str]
    cwd: Path | None
    config: Config
    launcher: Path | None
    service: bool = True
    completions: Mapping[str, Callable[[], str]] = field(default_factory=dict)
    cargo_shim: bool = False
    git_hooks: bool = False

    @property
    def in_ci(self) -> bool:
        """A machine that is thrown away: nobody logs in or types."""
        return self.env.get("CI", "").lower() not in ("", "0", "false")
