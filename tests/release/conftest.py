"""What a release consists of, and machines whose users have nothing of kache yet."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import make_box, pytest_runtest_makereport  # noqa: F401 - fixtures are found by name
from tests.support.dist import Dist, shared_dist
from tests.support.sandbox import Sandbox


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Dist:
    return shared_dist(tmp_path_factory)


@pytest.fixture
def machine(make_box: Callable[[str], Sandbox]) -> Sandbox:  # noqa: F811
    return make_box("daemon")


@pytest.fixture
def newcomer(machine: Sandbox) -> dict[str, str]:
    """The environment there. What pip fetched on this machine once, it need not fetch again."""
    kept = {name: value for name, value in machine.env().items() if not name.startswith(("KACHE_", "RUSTC_WRAPPER"))}
    pip = Path(pwd.getpwuid(os.getuid()).pw_dir, ".cache", "pip")
    return {**kept, "KACHE_CACHE_DIR": str(machine.cache_dir), "PIP_CACHE_DIR": str(pip)}
