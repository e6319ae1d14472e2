"""Every link, picture and anchor of the built site leads to something that is in it.

MkDocs checks what is written in Markdown; this looks at what came out: navigation, pictures, anchors, styles.
"""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

_LINKS = {"a": "href", "link": "href", "img": "src", "script": "src", "source": "src", "object": "data"}


class _Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        found = dict(attrs)
        self.anchors |= {found[name] or "" for name in ("id", "name") if found.get(name)}
        link = found.get(_LINKS.get(tag, ""))
        if link:
            self.links.add(link)


def broken_links(site: Path) -> list[str]:
    """Links of a site that lead nowhere in it: `page: link`, sorted. Those to other sites are not followed.

    Args:
        site: where MkDocs wrote it.
    """
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found = []
    for path, page in pages.items():
        if path.name == "404.html":  # served for any path, so its links begin at the root
            continue
        found += [f"{path.relative_to(site)}: {link}" for link in sorted(page.links) if not _leads(link, path, pages)]
    return found


def _leads(link: str, path: Path, pages: dict[Path, _Page]) -> bool:
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return parts.scheme in ("https", "mailto", "data") or parts.hostname in ("127.0.0.1", "localhost")
    target = Path(os.path.normpath(path.parent / unquote(parts.path))) if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return False
    # A viewer's own: "#__comments" and the like of the theme are made by its scripts.
    has_anchor = not parts.fragment or parts.fragment.startswith("__") or target not in pages
    return has_anchor or unquote(parts.fragment) in pages[target].anchors


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page
