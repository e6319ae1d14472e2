"""Verifications: did a hit ever give something else than compiling it again?"""

from __future__ import annotations

from kache.errors import StoreError
from kache.reports.database import Window, reading
from kache.reports.stats import VERIFICATIONS, collect
from kache.setup.finding import OK, SKIP, WARN, Finding, Surroundings


def check(around: Surroundings) -> list[Finding]:
    """Count what the setting `verify` found, as far back as events go."""
    try:
        with reading(around.config.cache_dir) as connection:
            stats = collect(connection, Window(), 0)
    except StoreError:
        return [Finding(SKIP, "the store cannot be read")]  # its own check says why
    if not any(stats.verifications[name] for name in VERIFICATIONS):
        return [Finding(OK, "no hit was compiled again yet (the setting verify does)")]
    if not stats.differing:
        return [Finding(OK, f"{stats.verifications['verified']} hits compiled again, all the same")]
    crates = "; ".join(f"{crate} ({files})" for crate, files in stats.differing.items())
    why = f"what rustc makes differs from what was served: {crates}"
    fix = "docs/explanation/verify.md tells a compiler's whim from a wrong hit; the log has where both are"
    return [Finding(WARN, f"{stats.verifications['differs']} hits compiled again gave something else", why, fix)]
