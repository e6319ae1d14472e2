"""Run every check; one that breaks must not hide the others."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from kache.setup.checks import CHECKS
from kache.setup.finding import FAIL, Finding, Surroundings

Found = tuple[str, Finding]


def examine(around: Surroundings, progress: Callable[[int, int], None] | None = None) -> list[Found]:
    """All findings with the name of their check, in the order of the table; `progress` is told how many are done."""
    found = []
    for number, name in enumerate(CHECKS):
        if progress is not None:
            progress(number, len(CHECKS))
        found += [(name, finding) for finding in _one(name, around)]
    return found


def _one(name: str, around: Surroundings) -> list[Finding]:
    try:
        findings: list[Finding] = import_module(f"kache.setup.checks.{name}").check(around)
    except Exception as error:  # noqa: BLE001 - a broken check is a finding, see above
        return [Finding(FAIL, f"this check broke: {type(error).__name__}: {error}", fix="report this as a bug")]
    return findings
