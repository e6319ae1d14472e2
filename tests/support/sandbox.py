"""A scratch home with a cache of its own: where the scenarios live.

    box.checkout("a", hello()).build().expect(misses=2)
    box.checkout("elsewhere/b", hello()).build().expect(hits=2)

A real cargo, the real toolchain, the kache that is installed beside this Python; nothing of the user's own home.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from kache.config.paths import socket_path
from kache.engine.warm_start.warm_start import OTHER_GRAIN_NS
from kache.errors import DaemonUnreachableError
from kache.ipc.client import control
from tests.support import processes
from tests.support.checkout import Checkout
from tests.support.counting import Calls, read_calls
from tests.support.processes import Process

KACHE = Path(sysconfig.get_path("scripts"), "kache")
DAEMON, INSIDE, WARM = "daemon", "in-process", "warm"
"""Engines: the daemon, one inside each call, and the daemon with warm start."""
COMMAND_LIMIT_S = 240
_KEPT = ("LANG", "TZ", "USER", "LOGNAME", "LD_LIBRARY_PATH", "RUSTUP_HOME", "RUSTUP_TOOLCHAIN")


@functools.cache
def toolchain_bin() -> Path:
    """The directory of the real rustc and cargo, behind any proxy."""
    if shutil.which("cargo") is None or shutil.which("rustc") is None:
        pytest.skip("needs cargo and rustc on PATH")
    done = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True)
    found = Path(done.stdout.strip(), "bin")
    return found if (found / "cargo").is_file() else Path(str(shutil.which("cargo"))).parent


def has_component(program: str) -> bool:
    """Whether the toolchain has a program (clippy-driver, rustdoc)."""
    return (toolchain_bin() / program).exists()


def host_triple() -> str:
    """The triple builds are for."""
    done = subprocess.run([toolchain_bin() / "rustc", "-vV"], capture_output=True, text=True, check=True)
    return next(line.removeprefix("host: ") for line in done.stdout.splitlines() if line.startswith("host: "))


def _known_toolchains() -> Path:
    """Below the scratch home of this pytest process."""
    return Path.home() / "toolchains"


class Sandbox:
    """One user with one cache.

    Args:
        root: an empty directory, short: sockets are put below it.
        engine: DAEMON, INSIDE or WARM.

    Attributes:
        settings: variables every command gets; tests change them.
        daemon_may_fail: the scenario keeps daemons from starting. Elsewhere one that could not start fails the test:
            the calls it should have served were served all the same, so nothing else would show it.
    """

    def __init__(self, root: Path, engine: str = DAEMON) -> None:
        if not KACHE.is_file():
            pytest.skip(f"needs kache installed beside this Python ({KACHE}): make setup")
        self.root = root
        self.engine = engine
        self.home = root / "home"
        self.cargo_home = root / "cargo-home"
        self.cache_dir = root / "cache"
        self.daemon_may_fail = False
        # Scenarios of hits count calls, so warm start and prefetches have boxes of their own.
        self.settings: dict[str, str] = {"KACHE_WARM_START": "1" if engine == WARM else "0", "KACHE_PREFETCH": "0"}
        if engine == INSIDE:
            self.settings["KACHE_DAEMON"] = "0"
        self._last_event: dict[int, int] = {}
        self._cleanups: list[Callable[[], None]] = []
        # What other boxes found out of the machine's toolchains: hashing one takes half a second of a busy machine.
        self._toolchains = root / "state" / "kache" / "toolchains"
        for directory in (self.home, self.cargo_home, self._toolchains.parent):
            directory.mkdir(parents=True)
        with contextlib.suppress(FileNotFoundError):
            shutil.copy(_known_toolchains(), self._toolchains)

    @property
    def is_warm(self) -> bool:
        """Whether units are put into fresh targets before cargo asks."""
        return self.engine == WARM

    # ---- what scenarios use

    def configure(self, text: str) -> None:
        """Write the user's configuration file."""
        path = self.home / ".config" / "kache" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of every command in this box."""
        kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith("LC_")}
        path = os.pathsep.join((str(toolchain_bin()), os.environ.get("PATH", os.defpath)))
        own = {
            "PATH": path,
            "HOME": str(self.home),
            "CARGO_HOME": str(self.cargo_home),
            "XDG_STATE_HOME": str(self.root / "state"),
            "CARGO_NET_OFFLINE": "true",
            "CARGO_TERM_COLOR": "never",
            "GIT_CEILING_DIRECTORIES": str(self.root),
            "RUSTC_WRAPPER": str(KACHE),
            "KACHE_CACHE_DIR": str(self.cache_dir),
        }
        return {**kept, **own, **self.settings, **(more or {})}

    def checkout(self, name: str, files: Mapping[str, str]) -> Checkout:
        """Write a project below the box; a name with slashes gives a longer path."""
        made = Checkout(self, self.root / name)
        for path, text in files.items():
            made.write(path, text)
        if self.is_warm:  # what was saved within the clock's grain is left to cargo: scenarios would be a gamble
            time.sleep(2 * OTHER_GRAIN_NS / 1e9)
        return made

    def kache(self, *words: str, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command of kache."""
        return subprocess.run(
            [KACHE, *words],
            cwd=self.root,
            env=self.env(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=COMMAND_LIMIT_S,
            check=False,
        )

    def data(self, *words: str, exit_code: int = 0) -> dict[str, Any]:
        """Run a command with --json and give its `data`."""
        done = self.kache(*words, "--json")
        assert done.returncode == exit_code, done.stdout + done.stderr
        found: dict[str, Any] = json.loads(done.stdout)["data"]
        return found

    def calls(self) -> Calls:
        """The rustc calls since this was last asked, all of them recorded."""
        self.settle()
        # An index set aside and a new one count from one again.
        inode = self.index.stat().st_ino if self.index.exists() else 0
        found, self._last_event[inode] = read_calls(self.index, self._last_event.get(inode, 0))
        return found

    def log(self) -> str:
        """What the engines of this box logged."""
        path = self.cache_dir / "daemon.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def sysroot(self) -> Path:
        """Where the toolchain is."""
        return toolchain_bin().parent

    # ---- the store

    @property
    def index(self) -> Path:
        """The index file."""
        return self.cache_dir / "store" / "index.db"

    def blobs(self) -> list[Path]:
        """Every blob of the store, the largest first."""
        found = [path for path in (self.cache_dir / "store" / "blobs").rglob("*") if path.is_file()]
        return sorted(found, key=lambda path: -path.stat().st_size)

    # ---- processes

    def processes(self) -> list[Process]:
        """What runs with this box's cache."""
        return processes.with_variable("KACHE_CACHE_DIR", str(self.cache_dir))

    def daemons(self) -> list[int]:
        """Process numbers of the daemons that live; there should never be two."""
        return [process.pid for process in self.processes() if process.runs("kache.daemon")]

    def daemon(self) -> int:
        """The running daemon's process number."""
        found = self.daemons()
        assert len(found) == 1, f"{len(found)} daemons\n{self.log()}"
        return found[0]

    @property
    def socket(self) -> Path:
        """Where the daemon listens."""
        return socket_path(self.env())

    @property
    def failed_start(self) -> Path:
        """What a launcher leaves behind when no daemon could be started."""
        return self.socket.with_name(self.socket.name + ".failed")

    def settle(self) -> None:
        """Wait until every call that ended is in the index."""
        processes.until(
            lambda: not [process for process in self.processes() if process.runs("kache.wrapper")],
            limit_s=60,
            what="in-process engines ended",
        )
        if self.engine != INSIDE and self.socket.exists():
            with contextlib.suppress(DaemonUnreachableError):
                control(self.socket, {"op": "flush"}, timeout_s=60)

    def stop(self) -> None:
        """End the daemon as a user would."""
        if self.socket.exists():
            done = self.kache("daemon", "stop")
            assert done.returncode == 0, done.stderr

    # ---- end

    def at_end(self, cleanup: Callable[[], None]) -> None:
        """Have something done before the box goes."""
        self._cleanups.append(cleanup)

    def close(self) -> None:
        """End every process of the box, by number."""
        for cleanup in reversed(self._cleanups):
            cleanup()
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGTERM if process.runs("kache.daemon") else signal.SIGKILL)
                os.kill(process.pid, signal.SIGCONT)
        with contextlib.suppress(AssertionError):
            processes.until(lambda: not self.processes(), limit_s=5)
        for process in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def remove(self) -> None:
        """Delete the box's files."""
        if self._toolchains.exists() and not _known_toolchains().exists():
            shutil.copy(self._toolchains, _known_toolchains())
        shutil.rmtree(self.root, ignore_errors=True)
        if self.socket.parent != self.cache_dir:
            for path in (self.socket, self.failed_start):
                path.unlink(missing_ok=True)
