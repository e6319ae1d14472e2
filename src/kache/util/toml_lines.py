"""Line numbers in TOML text, for messages: the parsers of the standard library keep none."""

from __future__ import annotations


def line_of(lines: list[str], table: str, key: str) -> int:
    """Line number of `key = …` below `[table]`, 0 if it is not written that way."""
    current = ""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith("["):
            current = text.split("]", 1)[0].lstrip("[").strip()
            continue
        written, equals, _ = text.partition("=")
        written = written.strip()
        inside = current == table and written.strip("\"'") == key
        dotted = current == "" and table != "" and written == f"{table}.{key}"
        if equals and (inside or dotted):
            return number
    return 0


def line_of_table(lines: list[str], table: str) -> int:
    """Line number of `[table]` or `[table.…]`, 0 if there is none."""
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if text.startswith("[") and text.split("]", 1)[0].lstrip("[").strip().split(".", 1)[0].strip("\"'") == table:
            return number
    return 0


def error_line(message: str, text: str) -> int:
    """Line of a TOML error; before Python 3.14 only its message has it: `… (at line 3, column 5)`."""
    digits = message.partition("(at line ")[2].partition(",")[0]
    return int(digits) if digits.isdigit() else max(len(text.splitlines()), 1)
