"""Before any test: a home and a cache of their own, so that nothing can touch what belongs to the user.

Every process a test starts inherits this environment. Real builds still use the machine's toolchain and crates.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path

import pytest

from bench.environment import DROPPED, DROPPED_PREFIXES

SRC = Path(__file__).parents[1] / "src"

_SCRATCH = pytest.StashKey[Path]()
_ABSENT_BEFORE = pytest.StashKey[list[Path]]()


def pytest_configure(config: pytest.Config) -> None:
    """Replace the user's surroundings."""
    # A shell or nohup ignores these for what it starts in the background, and every process below would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    home = Path.home()
    config.stash[_ABSENT_BEFORE] = [path for path in _user_caches(home) if not path.exists()]
    # Short: a socket's path holds some 100 bytes, and tests put caches below it.
    scratch = Path(tempfile.mkdtemp(prefix="kache-tests-"))
    config.stash[_SCRATCH] = scratch
    (scratch / "home").mkdir()
    for name in list(os.environ):
        if name in DROPPED or name.startswith((*DROPPED_PREFIXES, "XDG_")):
            del os.environ[name]
    os.environ.setdefault("CARGO_HOME", str(home / ".cargo"))
    os.environ.setdefault("RUSTUP_HOME", str(home / ".rustup"))
    os.environ["HOME"] = str(scratch / "home")
    os.environ["KACHE_CACHE_DIR"] = str(scratch / "cache")
    # Interpreters that tests start read the tree as well; the launcher's own are isolated and never see this.
    os.environ["PYTHONPATH"] = str(SRC)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the scratch home."""
    scratch = config.stash.get(_SCRATCH, None)
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if the user's own cache appeared while it lasted."""
    appeared = [path for path in session.config.stash.get(_ABSENT_BEFORE, []) if path.exists()]
    if appeared:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR
        raise pytest.UsageError(f"a test made {appeared[0]}: it ran kache with the user's own home")


def _user_caches(home: Path) -> list[Path]:
    caches = [home / ".cache" / "kache", home / "Library" / "Caches" / "kache"]
    if os.environ.get("XDG_CACHE_HOME"):
        caches.append(Path(os.environ["XDG_CACHE_HOME"], "kache"))
    return caches
