"""Completion scripts, made of the very parsers that read the command line. One shell a file."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

SHELLS = ("bash", "zsh", "fish", "elvish", "powershell")


def make(shell: str) -> str:
    """The script for one of `SHELLS`."""
    from kache.cli.completions.model import commands

    script: str = import_module(f"kache.cli.completions.{shell}").script(commands())
    return script


def _maker(shell: str) -> Callable[[], str]:
    return lambda: make(shell)


MAKERS: dict[str, Callable[[], str]] = {shell: _maker(shell) for shell in SHELLS}
"""For those who may want one and may not."""
