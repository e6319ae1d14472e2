"""The reference is what the code says, and every reason in it can happen."""

from __future__ import annotations

from pathlib import Path

import pytest

from kache.config.settings import SETTINGS
from kache.core.outcome import Reason
from tools.reference import REFERENCE, pages

SRC = Path(__file__).parents[2] / "src" / "kache"


@pytest.mark.parametrize("name", ["commands.md", "settings.md", "reasons.md", "errors.md", "report.schema.json"])
def test_page_is_current(name: str) -> None:
    assert (REFERENCE / name).read_text() == pages()[name], "run make docs"


def test_every_reason_is_explained() -> None:
    page = pages()["reasons.md"]
    assert not [reason for reason in Reason if f"| `{reason}` |  |" in page or f"| `{reason}` |" not in page]


def test_every_reason_is_used() -> None:
    code = "\n".join(path.read_text() for path in SRC.rglob("*.py") if path.name != "outcome.py")
    assert not [reason.name for reason in Reason if f"Reason.{reason.name}" not in code]


def test_every_setting_has_a_row_and_an_attribute() -> None:
    from kache.config.load import Config

    page = pages()["settings.md"]
    assert not [setting.name for setting in SETTINGS if f"`{setting.env}`" not in page]
    assert not [setting.name for setting in SETTINGS if setting.attribute not in Config.__dataclass_fields__]
