"""`kache doctor`."""

from __future__ import annotations

import argparse

from kache.cli.diagnostics import say
from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.session import Session
from kache.setup.doctor import examine
from kache.setup.finding import FAIL, WARN, Finding, Surroundings

DESCRIPTION = (
    "Check the installation, the configuration, the cache dir, the daemon and the toolchain, and say how to\n"
    "repair what is wrong. Nothing is changed. The exit code is 1 if a check fails."
)
EXAMPLES: Examples = (
    ("kache doctor", "all checks, in a second"),
    ("kache doctor --probe", "also compile a tiny crate twice: is the second a hit?"),
    ("kache doctor --json", "for a script"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument(
        "--probe", action="store_true", help="compile a tiny crate in two checkouts with a scratch cache"
    )


def run(args: argparse.Namespace, session: Session) -> Result:
    """Check."""
    around = Surroundings(env=session.env, cwd=session.cwd, config=session.config)
    found = examine(around)
    if args.probe:
        from kache.setup.probe import probe

        say("compiling a tiny crate twice in a scratch cache ...")
        found.append(("probe", probe(around)))
    failed = sum(finding.status == FAIL for _, finding in found)
    warned = sum(finding.status == WARN for _, finding in found)
    data = {
        "ok": failed == 0,
        "failed": failed,
        "warned": warned,
        "checks": [{"check": name, **finding.to_json()} for name, finding in found],
    }
    lines = [_lines(name, finding) for name, finding in found]
    lines.append(f"{failed} failed, {warned} to look at" if failed or warned else "all is well")
    return Result(data, "\n".join(lines), exit_code=1 if failed else 0)


def _lines(name: str, finding: Finding) -> str:
    lines = [f"{finding.status:<4}  {name.replace('_', ' ')}: {finding.what}"]
    lines += [f"      {word}: {text}" for word, text in (("why", finding.why), ("fix", finding.fix)) if text]
    return "\n".join(lines)
