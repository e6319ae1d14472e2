"""`make docs`: write docs/reference from the code: commands, settings, reasons, errors.

`tests/house/test_reference.py` compares the files with what this would write, so they are never out of date.
"""

from __future__ import annotations

import ast
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
GENERATED = "<!-- Made by `make docs`; change the code it names, not this page. -->"
# What argparse wraps its help at.
COLUMNS = "100"

COMMANDS_INTRO = """\
Every command takes `--json` and then prints one document: `schema_version`, `command`, `success`, and `data` or
`error` (`code`, `message`, `why`, `fix`, and `next`: commands to run). Data goes to standard output, everything else to
standard error. Exit codes: 0; 1 a known failure, or an answer that is bad news; 2 wrong usage; 3 a bug in kache; 130
Ctrl-C. Colour and pager are for terminals: `NO_COLOR`, `CLICOLOR_FORCE`, `KACHE_PAGER` or `PAGER` (empty for none).
"""
SETTINGS_INTRO = """\
Highest rank first: `kache --config NAME=VALUE COMMAND`, for one command; the environment variable;
`.kache.toml`, the nearest upward from the working directory; the user's
file (`~/.config/kache/config.toml`, on macOS `~/Library/Application Support/kache/config.toml`, or the one that
`KACHE_CONFIG` names); the machine's (`kache/config.toml` in the first of `XDG_CONFIG_DIRS`, else `/etc/xdg`); the
default. The files hold one table, `[cache]`, with `[cache.remote]` in it. A bad value is
reported with file and line, the next rank's value is used, and the build goes on.
"""
SETTINGS_END = """\
Sizes: `500MB`, `20GiB`, or bytes. Durations: `90s`, `30m`, `3h`, `7d`, or seconds. Switches: `1`/`0`, `true`/`false`,
`yes`/`no`, `on`/`off`.

Two more variables are no settings: `KACHE_CONFIG` names a file to read in place of the user's, and `KACHE_PYTHON` is
the interpreter the launcher uses when no `kache-python` lies beside it.
"""
REASONS_INTRO = """\
Why a call went past the cache, was compiled and not stored, or met trouble on the cache's side. `kache stats` counts
them. Whatever the reason, the result is plain rustc's.
"""
ERRORS_INTRO = """\
A command that fails prints `error[code]: what`, `why:` and `fix:`; with `--json` the same as `error`. A compile never
fails because of one of these: there they become a [reason](reasons.md).
"""


def main() -> int:
    """Write every page."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = REFERENCE / name
        changed = not path.exists() or path.read_text() != text
        if changed:
            path.write_text(text)
        print(f"docs: {path.relative_to(ROOT)} {'written' if changed else 'is current'}")
    return 0


def pages() -> dict[str, str]:
    """Every page: file name to text."""
    made: dict[str, Callable[[], str]] = {
        "commands.md": commands,
        "settings.md": settings,
        "reasons.md": reasons,
        "errors.md": errors,
        "report.schema.json": report_schema,
    }
    return {name: make() for name, make in made.items()}


def commands() -> str:
    """The help of every verb."""
    from kache.cli.main import overview, parser_of
    from kache.cli.parser import actions_of
    from kache.cli.verbs import VERBS

    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = COLUMNS
    try:
        lines = [*COMMANDS_INTRO.splitlines(), "", *_block(overview())]
        for verb in VERBS:
            parser = parser_of(verb)[0]
            lines += ["", f"## kache {verb.name}", "", *_block(parser.format_help())]
            for name, action in actions_of(parser).items():
                lines += ["", f"### kache {verb.name} {name}", "", *_block(action.format_help())]
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before
    return _page("Commands", lines)


def settings() -> str:
    """The table of settings."""
    from kache.config.settings import SETTINGS

    lines = [
        *SETTINGS_INTRO.splitlines(),
        "",
        "| key in `[cache]` | environment | type | default | meaning |",
        "| --- | --- | --- | --- | --- |",
    ]
    for setting in SETTINGS:
        key = "environment only" if setting.env_only else f"`{setting.name}`"
        lines.append(f"| {key} | `{setting.env}` | {setting.type} | {_default(setting.default)} | {setting.doc} |")
    return _page("Settings", [*lines, "", *SETTINGS_END.splitlines()])


def reasons() -> str:
    """The closed list of reasons, with the text under each member."""
    from kache.core.outcome import Reason

    lines = REASONS_INTRO.splitlines()
    for heading, members in _sections(Reason):
        lines += ["", f"## {heading}", "", "| reason | meaning |", "| --- | --- |"]
        lines += [f"| `{value}` | {' '.join(text.split())} |" for value, text in members]
    return _page("Reasons", lines)


def errors() -> str:
    """Every error class with its code, exit status and standing advice."""
    from kache import errors as module

    classes = [
        found for found in vars(module).values() if isinstance(found, type) and issubclass(found, module.KacheError)
    ]
    classes.sort(key=lambda found: inspect.getsourcelines(found)[1])
    lines = [
        *ERRORS_INTRO.splitlines(),
        "",
        "| code | meaning | exit code | usual fix |",
        "| --- | --- | --- | --- |",
    ]
    for found in classes[1:]:  # the first is the base of all
        meaning = (found.__doc__ or "").splitlines()[0]
        lines.append(f"| `{found.code}` | {meaning} | {found.exit_code} | {found.default_fix or 'said by each'} |")
    lines.append("| `internal` | A bug in kache; its traceback is printed above. | 3 | report it with the traceback |")
    return _page("Errors", lines)


def report_schema() -> str:
    """JSON schema of `data` in `kache report --json`."""
    import json

    import msgspec

    from kache.reports.build_report import SCHEMA_VERSION, Report

    schema = _alike(msgspec.json.schema(Report))
    told = {"title": f"data of kache report --json, version {SCHEMA_VERSION}", **schema}
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **told}, indent=2) + "\n"


def _alike(schema: Any) -> Any:
    """The schema without what only some versions of msgspec say: defaults that are empty, indentation of docstrings."""
    if isinstance(schema, list):
        return [_alike(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _alike(value) for name, value in schema.items() if name != "default" or value not in ([], {})}
    if isinstance(kept.get("description"), str):
        kept["description"] = inspect.cleandoc(kept["description"])
    return kept


def _sections(enumeration: type) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Members of an enum with the text under each, grouped by the comments between them."""
    source, _ = inspect.getsourcelines(enumeration)
    headings = {number: line.strip("# \n") for number, line in enumerate(source, start=1) if line.strip()[:1] == "#"}
    found: dict[str, list[tuple[str, str]]] = {}
    body = cast(ast.ClassDef, ast.parse("".join(source)).body[0]).body
    for node, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
            continue
        text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
        heading = headings[max(number for number in headings if number < node.lineno)]
        found.setdefault(heading, []).append((str(node.value.value), str(text)))
    yield from ((heading[0].upper() + heading[1:], members) for heading, members in found.items())


def _default(value: object) -> str:
    if value is None:
        return "computed"
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return f"{value / 3600:g} h" if value >= 3600 else f"{value:g} s"
    return f"`{value}`" if value else "empty"


def _block(text: str) -> list[str]:
    return ["```", text.rstrip("\n"), "```"]


def _page(title: str, lines: list[str]) -> str:
    return "\n".join([f"# {title}", GENERATED, "", *lines]) + "\n"


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT / "src"))
    sys.exit(main())
