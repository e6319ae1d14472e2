"""The configuration: what was read and what was not taken."""

from __future__ import annotations

from kache.setup.finding import OK, WARN, Finding, Surroundings


def check(around: Surroundings) -> list[Finding]:
    """Each bad value is a warning; builds go on with the default."""
    config = around.config
    findings = [
        Finding(WARN, f"{problem.origin}: {problem.what}", "the next best value is used", f"write {problem.expected}")
        for problem in config.problems
    ]
    if config.disabled:
        findings.append(
            Finding(WARN, "KACHE_DISABLED is set", "every compile runs as if kache were not there", "unset it")
        )
    if findings:
        return findings
    read = ", ".join(str(path) for path in config.files) or "no file, so environment and defaults"
    return [Finding(OK, f"read {read}")]
