"""What a check looks at and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from kache.config.load import Config

OK = "ok"
WARN = "warn"
FAIL = "fail"
SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where the checks look: the caller's environment, directory and configuration."""

    env: Mapping[str, str]
    cwd: Path | None
    config: Config


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        status: `ok`, `warn` (works, not at its best), `fail` (no caching until mended) or `skip` (could not look).
        what: the fact.
        why: what follows from it; empty when ok.
        fix: what to do; empty when ok.
    """

    status: str
    what: str
    why: str = ""
    fix: str = ""

    def to_json(self) -> dict[str, str]:
        """Plain values."""
        return asdict(self)
