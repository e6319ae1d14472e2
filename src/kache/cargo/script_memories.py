"""Where build scripts that `kache cargo` watches leave what they looked at."""

from __future__ import annotations

DIRECTORY_VARIABLE = "KACHE_SCRIPT_RUNS"
"""Tells the daemon where the memories of this cargo's scripts are."""
DIRECTORY = "script-runs"
"""In the cache dir."""
