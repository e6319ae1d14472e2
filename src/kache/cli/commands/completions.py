"""`kache completions`."""

from __future__ import annotations

import argparse

from kache.cli.completions import SHELLS, make
from kache.cli.output import Result
from kache.cli.parser import Examples
from kache.cli.session import Session

DESCRIPTION = (
    "Print the completion script of a shell. kache init puts it where bash and fish look for it; for the others,\n"
    "load it from the shell's start-up file."
)
EXAMPLES: Examples = (
    ("kache completions bash > ~/.local/share/bash-completion/completions/kache", "bash"),
    ("kache completions zsh > ~/.zfunc/_kache", "zsh, with ~/.zfunc in fpath"),
    ("kache completions fish > ~/.config/fish/completions/kache.fish", "fish"),
    ("kache completions elvish > ~/.config/elvish/lib/kache.elv", "elvish, with `use kache` in rc.elv"),
    ("kache completions powershell | Out-String | Invoke-Expression", "PowerShell"),
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the flags."""
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def run(args: argparse.Namespace, session: Session) -> Result:
    """Print it."""
    script = make(args.shell)
    return Result({"shell": args.shell, "script": script}, script.rstrip("\n"))
