"""What the link checker of the site finds, and what it lets pass."""

from __future__ import annotations

from pathlib import Path

from tools.site_links import broken_links


def test_links_anchors_and_pictures_that_lead_nowhere_are_found_and_others_pass(tmp_path: Path) -> None:
    (tmp_path / "how-to").mkdir()
    (tmp_path / "picture.svg").write_text("<svg/>")
    good = '<a href="how-to/page.html#there">x</a><img src="picture.svg"><a href="https://example.com/gone">x</a>'
    bad = '<a href="how-to/page.html#gone">x</a><a href="gone.html">x</a><img src="gone.svg"><a href="http://example.com">x</a>'
    (tmp_path / "index.html").write_text(f"<p>{good}{bad}</p>")
    (tmp_path / "how-to" / "page.html").write_text(
        '<h2 id="there">x</h2><a href="../index.html">x</a><a href="#gone">x</a>'
    )
    assert broken_links(tmp_path) == [
        "how-to/page.html: #gone",
        "index.html: gone.html",
        "index.html: gone.svg",
        "index.html: how-to/page.html#gone",
        "index.html: http://example.com",
    ]
