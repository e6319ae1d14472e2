"""What a check looks at and what it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        repair: does that, for `kache doctor --fix`, and says what it did; None where only the user can.
    """

    status: str
    what: str
    why: str = ""
    fix: str = ""
    repair: Callable[[], str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        told = {"status": self.status, "what": self.what, "why": self.why, "fix": self.fix}
        return {**told, "fixable": self.repair is not None}
