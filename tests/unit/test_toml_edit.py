"""One key of a TOML text is changed, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from kache.errors import ConfigFileError
from kache.setup.toml_edit import with_value, without

FILE = Path("/f.toml")
TEXTS = {
    "empty": ("", '[build]\nkey = "v"\n'),
    "comment alone": ("# c\n", '# c\n\n[build]\nkey = "v"\n'),
    "the next table's comment": (
        "[build]\njobs = 4\n\n# network\n[net]\ngit = 1\n",
        '[build]\njobs = 4\nkey = "v"\n\n# network\n[net]\ngit = 1\n',
    ),
    "the table's own comment": (
        "[build]\njobs = 4 # four\n# more\n\n\n[net]\n",
        '[build]\njobs = 4 # four\n# more\nkey = "v"\n\n\n[net]\n',
    ),
    "dotted": ("build.jobs = 4\n\n[net]\na = 1\n", 'build.jobs = 4\nbuild.key = "v"\n\n[net]\na = 1\n'),
    "a table below it": ("[build.x]\na = 1\n", '[build]\nkey = "v"\n\n[build.x]\na = 1\n'),
    "no newline at the end": ("[net]\na = 1", '[net]\na = 1\n\n[build]\nkey = "v"\n'),
    "DOS lines": ("[build]\r\njobs = 4\r\n\r\n[net]\r\n", '[build]\r\njobs = 4\r\nkey = "v"\r\n\r\n[net]\r\n'),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_new_key(name: str) -> None:
    before, after = TEXTS[name]
    assert with_value(before, FILE, "build", "key", "v") == after


@pytest.mark.parametrize(
    "name", ["empty", "the next table's comment", "the table's own comment", "dotted", "DOS lines"]
)
def test_removing_it_gives_the_text_back(name: str) -> None:
    before, after = TEXTS[name]
    assert without(after, FILE, "build", "key") == before


def test_a_value_is_replaced_where_it_stands() -> None:
    assert with_value('[a]\nk = "x"  # why\n', FILE, "a", "k", True) == "[a]\nk = true  # why\n"


@pytest.mark.parametrize("text", ["[build\n", "build = 1\n"])
def test_what_cannot_be_changed_is_an_error(text: str) -> None:
    with pytest.raises(ConfigFileError):
        with_value(text, FILE, "build", "key", "v")
