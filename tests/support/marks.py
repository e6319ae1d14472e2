"""Marks that several scenario files share."""

from __future__ import annotations

import os

import pytest

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")

slow = pytest.mark.slow

mostly_daemon = pytest.mark.parametrize("box", ["daemon", pytest.param("in-process", marks=slow)], indirect=True)
"""For scenarios of many compiles that say of an engine inside each call what quicker ones say already."""
