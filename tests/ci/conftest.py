"""Boxes, as the scenarios have them."""

from __future__ import annotations

from tests.e2e.conftest import make_box, pytest_runtest_makereport  # noqa: F401 - fixtures are found by name
