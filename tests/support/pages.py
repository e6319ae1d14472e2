"""The documentation as data: code blocks with the mark above them, commands in them, headings and links."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_MARK = re.compile(r"^\s*<!-- (?P<word>run|not run|frame)(?:: (?P<rest>.+))? -->$")
_INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_OPERATOR = re.compile(r"[;&|()]+")
_REDIRECTION = re.compile(r"[<>]+")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: path below the root.
        line: number of its first line, the fence.
        language: behind the fence; empty if it says none.
        text: without the fences and their indentation.
        mark: `run`, `not run`, `frame` or empty: the comment directly above.
        rest: what the comment says behind the colon.
    """

    page: str
    line: int
    language: str
    text: str
    mark: str
    rest: str

    @property
    def where(self) -> str:
        """For people."""
        return f"{self.page}:{self.line}"

    @property
    def steps(self) -> list[tuple[str, str]]:
        """(shell text, output shown): each `$ ` line of a console block; any other block whole, nothing shown."""
        if self.language != "console":
            return [(self.text, "")]
        found: list[tuple[str, str]] = []
        for line in self.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], ""))
            elif found:
                found[-1] = (found[-1][0], found[-1][1] + line + "\n")
        return found


def blocks(page: str) -> list[Block]:
    """Every fenced block of a page."""
    lines = (ROOT / page).read_text().splitlines()
    found, at = [], 0
    while at < len(lines):
        opening = _FENCE.match(lines[at])
        if opening is None:
            at += 1
            continue
        end = next(to for to in range(at + 1, len(lines)) if lines[to].strip() == "```")
        mark = _MARK.match(lines[at - 1]) if at else None
        text = textwrap.dedent("\n".join(lines[at + 1 : end])) + "\n"
        word, rest = (mark["word"], mark["rest"] or "") if mark else ("", "")
        found.append(Block(page, at + 1, opening["language"], text, word, rest))
        at = end + 1
    return found


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    kept, inside = [], False
    for line in (ROOT / page).read_text().splitlines():
        if line.lstrip().startswith("```"):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def inline_commands(page: str) -> list[list[str]]:
    """Words of each `kache …` in running text."""
    spans = (" ".join(span.split()) for span in _INLINE.findall(prose(page)))
    return [words for span in spans for words in commands(span) if words[0] == "kache"]


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell text, without assignments before and redirections behind; comments are none."""
    for line in text.replace("\\\n", " ").splitlines():
        # Without what a YAML list of commands puts before them.
        command = re.sub(r"^\s*(?:- )?(?:run: )?", "", line).removeprefix("$ ")
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        try:
            tokens = list(lexer)
        except ValueError:
            continue  # not a shell's words: an apostrophe in YAML
        yield from _simple(tokens)


def _simple(tokens: list[str]) -> Iterator[list[str]]:
    words: list[str] = []
    redirected = False
    for token in [*tokens, ";"]:
        if _OPERATOR.fullmatch(token):
            if words:
                yield words
            words, redirected = [], False
        elif _REDIRECTION.fullmatch(token):
            redirected = True
        elif not redirected and (words or not (_ASSIGNMENT.match(token) or token in ("then", "do", "if", "else"))):
            words.append(token)


def links(page: str) -> list[str]:
    """Relative links of a page, anchors included."""
    targets = [found["target"] for found in _LINK.finditer(re.sub(r"`[^`]*`", "", prose(page)))]
    return [target for target in targets if ":" not in target]


def anchors(page: str) -> set[str]:
    """Anchors of a page's headings, those on which the site and a forge's view of the file agree."""
    headings = [
        re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found).replace("`", "") for found in _HEADING.findall(prose(page))
    ]
    bare = [re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings]
    return {re.sub(r"[-\s]+", "-", text) for text in bare} & {text.replace(" ", "-") for text in bare}
