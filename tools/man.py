"""`make docs`: write the man pages from the parsers, into the wheel's data, so that they are installed with kache."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAN = ROOT / "native" / "wheel-data" / "data" / "share" / "man" / "man1"
_FILES = """\
.SH FILES
.TP
.I ~/.cache/kache
The store and the daemon's socket and log (KACHE_CACHE_DIR, XDG_CACHE_HOME).
.TP
.I ~/.config/kache/config.toml
The user's settings (KACHE_CONFIG, XDG_CONFIG_HOME).
.TP
.I .kache.toml
Settings of a project.
.SH EXIT STATUS
0; 1 a known failure, or an answer that is bad news; 2 wrong usage; 3 a bug in kache; 130 Ctrl-C.
"""


def main() -> int:
    """Write every page."""
    MAN.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = MAN / name
        changed = not path.exists() or path.read_text() != text
        if changed:
            path.write_text(text)
        print(f"man: {name} {'written' if changed else 'is current'}")
    return 0


def pages() -> dict[str, str]:
    """Every page: file name to text."""
    from kache.cli.main import parser_of
    from kache.cli.verbs import VERBS

    made = {"kache.1": _overview()}
    for verb in VERBS:
        parser, command = parser_of(verb)
        name = f"kache-{verb.name}"
        lines = [*_head(name, verb.help.rstrip(".")), *_synopsis(parser, verb.name), ".SH DESCRIPTION"]
        lines += _paragraphs(command.DESCRIPTION)
        lines += _options(parser)
        lines += [".SH EXAMPLES"]
        for example, meaning in command.EXAMPLES:
            lines += [".TP", f".B {_text(example)}", _text(meaning)]
        made[f"{name}.1"] = "\n".join([*lines, ".SH SEE ALSO", ".BR kache (1)"]) + "\n"
    return made


def _overview() -> str:
    from kache.cli.verbs import VERBS

    lines = [*_head("kache", "a compile cache for Rust"), ".SH SYNOPSIS"]
    lines += [".B RUSTC_WRAPPER=kache cargo build", ".br", r".B kache \fICOMMAND\fR [\-\-json] [\fIOPTION\fR...]"]
    lines += [".SH COMMANDS"]
    for verb in VERBS:
        lines += [".TP", f".BR kache\\-{_text(verb.name)} (1)", _text(verb.help)]
    lines += [".SH ENVIRONMENT"]
    for name, meaning in _variables():
        lines += [".TP", f".B {_text(name)}", _text(meaning)]
    return "\n".join(lines) + "\n" + _FILES


def _variables() -> Iterator[tuple[str, str]]:
    from kache.config.settings import SETTINGS

    yield from ((setting.env, setting.doc) for setting in SETTINGS)


def _head(name: str, what: str) -> list[str]:
    from kache import __version__

    escaped = _text(name)
    return [
        r".\" Made by make docs; change the code, not this page.",
        f'.TH "{escaped.upper()}" 1 "" "kache {__version__}"',
        ".SH NAME",
        f"{escaped} \\- {_text(what[0].lower() + what[1:])}",
    ]


def _synopsis(parser: argparse.ArgumentParser, verb: str) -> list[str]:
    usage = " ".join(parser.format_usage().split()).removeprefix(f"usage: kache {verb}").strip()
    return [".SH SYNOPSIS", f".B kache {_text(verb)}", _text(usage)]


def _options(parser: argparse.ArgumentParser) -> list[str]:
    from kache.cli.parser import actions_of

    lines = [".SH OPTIONS"]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        value = "" if action.nargs == 0 or not action.option_strings else f" {action.metavar or action.dest.upper()}"
        names = ", ".join(action.option_strings) or str(action.metavar or action.dest)
        lines += [".TP", f".B {_text(names + value)}", _text((action.help or "").replace("%%", "%"))]
    for name, below in actions_of(parser).items():
        lines += [".TP", f".B {_text(name)}", _text(below.description or "")]
    return lines


def _paragraphs(text: str) -> Iterator[str]:
    for number, part in enumerate(text.split("\n\n")):
        if number:
            yield ".PP"
        if part.startswith("  "):  # a list that is laid out by hand
            yield ".nf"
            yield from (_text(line) for line in part.split("\n"))
            yield ".fi"
        else:
            yield _text(" ".join(part.split()))


def _text(text: str) -> str:
    """Roff reads backslashes, hyphens, and a dot or an apostrophe that begins a line."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped[:1] in (".", "'") else escaped


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    sys.exit(main())
