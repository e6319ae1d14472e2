"""What the site makes of the Markdown of the tree."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from tools import site_hooks


def page(text: str, uri: str = "how-to/ci.md") -> str:
    return site_hooks.on_page_markdown(text, SimpleNamespace(file=SimpleNamespace(src_uri=uri)))


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[a](remote.md#set-it-up)", "[a](remote.md#set-it-up)"),
        ("[a](../../CONTRIBUTING.md)", "[a](../contributing.md)"),
        ("[a](../../README.md#measured)", "[a](../explanation/measured.md)"),
        ("[a](../../LICENSE-MIT)", "a"),
        ("[a](#here)", "[a](#here)"),
        ("[two\nlines](../reference/reasons.md)", "[two\nlines](../reference/reasons.md)"),
        ("[a](https://example.com/b.md)", "[a](https://example.com/b.md)"),
    ],
)
def test_links(written: str, shown: str) -> None:
    assert page(written) == shown


def test_links_of_pages_that_live_elsewhere() -> None:
    text = "[a](docs/decisions) [b](docs/how-to/ci.md) [c](ARCHITECTURE.md)"
    assert (
        page(text, "contributing.md") == "[a](decisions/README.md) [b](how-to/ci.md) [c](explanation/architecture.md)"
    )


def test_a_list_stands_apart_and_its_items_together() -> None:
    assert page("text:\n- one\n  more\n- two\n\nend") == "text:\n\n- one\n  more\n- two\n\nend"


def test_marks_go_and_fences_stay_as_they_are() -> None:
    text = "a\n\n<!-- not run: no time -->\n```sh\nb\n- [c](d.md)\n```\ne\n"
    assert page(text) == "a\n\n```sh\nb\n- [c](d.md)\n```\ne\n"


def test_the_measured_block_of_the_readme_is_a_page() -> None:
    text = site_hooks._text("README.md")
    assert text.startswith("# What was measured\n")
    assert "| what | kache |" in text
    assert "<!--" not in text
