"""What MkDocs does beside docs/: pages of the root, links that lead out of docs/, Markdown as everybody else reads it.

Loaded by mkdocs.yml in the environment of the site's tools, where kache itself is not installed.
"""

from __future__ import annotations

import os
import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
# Files that live elsewhere because people and tools look for them there -> their page.
ELSEWHERE = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "explanation/measured.md",
    "bench/README.md": "explanation/bench.md",
}
_LINK = re.compile(r"\[([^\]\n]*(?:\n[^\]\n]+)?)\]\(([^)\s:#]*)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^ *```", re.MULTILINE)
_ITEM = re.compile(r" *(?:[-*]|\d+\.) ")
_MEASURED = re.compile(r"^## Measured\n<!-- measured:begin.*?-->\n(.*?)<!-- measured:end -->", re.DOTALL | re.MULTILINE)
_MARK = re.compile(r"^ *<!-- (?:run|not run:.*|frame:.*) -->\n", re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not in docs/."""
    from mkdocs.structure.files import File

    for source, page in ELSEWHERE.items():
        files.append(File.generated(config, page, content=_text(source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Make one page fit: links, and lists without a blank line before them."""
    uri = page.file.src_uri
    source = next((name for name, to in ELSEWHERE.items() if to == uri), f"docs/{uri}")
    parts = _fenced(_MARK.sub("", markdown))
    return "".join(part if part.lstrip().startswith("```") else _prose(part, source, uri) for part in parts)


def _text(source: str) -> str:
    text = (ROOT / source).read_text()
    if source != "README.md":
        return text
    found = _MEASURED.search(text)
    if found is None:
        raise ValueError("README.md has no block of what was measured")
    return f"# What was measured\n\n{found[1]}"


def _fenced(text: str) -> list[str]:
    """A text in pieces: prose, fence, prose and so on."""
    marks = [found.start() for found in _FENCE.finditer(text)]
    pieces, at = [], 0
    for begin, end in zip(marks[::2], marks[1::2], strict=True):
        after = text.find("\n", end) + 1 or len(text)
        pieces += [text[at:begin], text[begin:after]]
        at = after
    return [*pieces, text[at:]]


def _prose(text: str, source: str, uri: str) -> str:
    return _LINK.sub(lambda found: _link(found, source, uri), _lists_apart(text))


def _lists_apart(text: str) -> str:
    """Python-Markdown alone takes a list behind a line of text for more of that text."""
    lines: list[str] = []
    in_item = False
    for line in text.split("\n"):
        is_item = _ITEM.match(line) is not None
        if is_item and not in_item and lines and lines[-1].strip():
            lines.append("")
        in_item = is_item or (in_item and line.startswith("  "))
        lines.append(line)
    return "\n".join(lines)


def _link(found: re.Match[str], source: str, uri: str) -> str:
    text, target, anchor = found[1], found[2], found[3] or ""
    if not target:
        return found[0]
    path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
    if path == "docs/decisions":
        path += "/README.md"
    to = ELSEWHERE.get(path, path.removeprefix("docs/") if path.startswith("docs/") else "")
    if not to:
        return text  # sources and licences are not on the site
    if path == "README.md":
        anchor = ""
    return f"[{text}]({os.path.relpath(to, posixpath.dirname(uri) or '.')}{anchor})"
