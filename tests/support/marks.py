"""Marks that several scenario files share."""

from __future__ import annotations

import os

import pytest

as_root = pytest.mark.skipif(os.getuid() != 0, reason="needs root")

slow = pytest.mark.slow

mostly_daemon = pytest.mark.mostly_daemon
"""For scenarios of many compiles that say of an engine inside each call what quicker ones say already."""

warm_too = pytest.mark.warm_too
"""For scenarios of what cargo finds fresh: with warm start as well, which serves what else hits would."""
