"""A kache of our own: one scratch directory with cache, socket and an empty configuration, and the calls to ask it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import BenchError
from bench.usage import process_cpu_s, tail

HITS = ("local_hit", "prefetch_hit", "remote_hit", "dup")


@dataclass(frozen=True)
class Counts:
    """What `kache stats --json` counts; differences of two say what one build did.

    Attributes:
        outcomes: outcome to count.
        restore: `linked_bytes`, `cloned_bytes`, `copied_bytes`.
        reasons: passthrough reason to count.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    restore: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    def since(self, before: Counts) -> Counts:
        """Return what was counted after `before`."""
        return Counts(
            _minus(self.outcomes, before.outcomes),
            _minus(self.restore, before.restore),
            _minus(self.reasons, before.reasons),
        )

    @property
    def hits(self) -> int:
        """Calls answered from a cache or from a compile of the same thing in flight."""
        return sum(self.outcomes.get(name, 0) for name in HITS)

    @property
    def calls(self) -> int:
        """All wrapper calls counted."""
        return sum(self.outcomes.values())


def _minus(after: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {name: count - before.get(name, 0) for name, count in after.items()}


def installed_kache() -> Path:
    """Return the kache of the environment this Python belongs to."""
    found = Path(sys.executable).parent / "kache"
    if not found.is_file():
        raise BenchError("kache is not installed here", f"there is no {found}", "run `make setup` first")
    return found


class KacheBox:
    """One kache with a cache directory of its own; its daemon ends with it.

    Attributes:
        more_env: further variables, which may change from round to round.
    """

    def __init__(self, directory: Path, program: Path, base_env: Mapping[str, str], *, daemon: bool = True) -> None:
        self.directory = directory
        self.program = program
        self._base_env = dict(base_env)
        self._daemon = daemon
        self.more_env: dict[str, str] = {}
        self._make()

    @property
    def cache_dir(self) -> Path:
        """The cache directory."""
        return self.directory / "cache"

    @property
    def machine_dir(self) -> Path:
        """What kache knows of this machine (its toolchains); a reset leaves it, as emptying a cache does."""
        return self.directory.with_name(f"{self.directory.name}-machine")

    def env(self) -> dict[str, str]:
        """Return the environment of a build through this kache."""
        own = {
            "RUSTC_WRAPPER": str(self.program),
            "KACHE_CACHE_DIR": str(self.cache_dir),
            # An empty file in place of the user's own configuration.
            "KACHE_CONFIG": str(self.directory / "config.toml"),
            "XDG_STATE_HOME": str(self.machine_dir),
        }
        if not self._daemon:
            own["KACHE_DAEMON"] = "0"
        return self._base_env | own | self.more_env

    def reset(self) -> None:
        """Start over with an empty cache and no daemon."""
        self.stop()
        shutil.rmtree(self.directory, ignore_errors=True)
        self._make()

    def _make(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "config.toml").write_text("")

    def counts(self) -> Counts:
        """Return the counters so far, all records written."""
        data = self.ask("stats", "--json")
        return Counts(
            _integers(data.get("outcomes")), _integers(data.get("restore")), _integers(data.get("passthrough_reasons"))
        )

    def status(self) -> dict[str, object]:
        """Return what the daemon says of itself; empty if there is none."""
        if not self._daemon:
            return {}
        try:
            return self.ask("daemon", "status", "--json")
        except BenchError:
            return {}  # exit status 1: not running

    def daemon_pid(self) -> int | None:
        """Return the running daemon's process id, None if there is none."""
        pid = self.status().get("pid")
        return pid if isinstance(pid, int) else None

    def daemon_cpu_s(self) -> float:
        """Return the CPU seconds the running daemon has used since it started."""
        return process_cpu_s(self.daemon_pid())

    def toolchain_cost(self) -> dict[str, float]:
        """Return what it costs to meet a toolchain for the first time: once a machine, not once a cache."""
        self.reset()
        shutil.rmtree(self.machine_dir, ignore_errors=True)
        self.start()
        before_s, started = self.daemon_cpu_s(), time.perf_counter()
        subprocess.run(
            [self.program, "rustc", "-vV"], env=self.env(), stdin=subprocess.DEVNULL, capture_output=True, check=True
        )
        wall_s = time.perf_counter() - started
        return {"wall_s": wall_s, "cpu_s": self.daemon_cpu_s() - before_s}

    def start(self) -> None:
        """Start the daemon and wait until it answers."""
        self._run("daemon", "start")

    def stop(self) -> None:
        """Stop the daemon, if one runs."""
        if self._daemon and self.cache_dir.is_dir():
            self._run("daemon", "stop")

    def path_taken(self) -> str:
        """Say which engine served the last build."""
        return "daemon" if self.daemon_pid() is not None else "in-process"

    def ask(self, *arguments: str) -> dict[str, object]:
        """Run a command with `--json` and return its document's data.

        Raises:
            BenchError: it failed or did not print a document.
        """
        done = self._run(*arguments)
        try:
            data = json.loads(done.stdout)["data"]
        except (ValueError, KeyError, TypeError):
            data = None
        if done.returncode or not isinstance(data, dict):
            raise BenchError(
                f"`kache {' '.join(arguments)}` failed",
                tail(done.stderr or done.stdout, 6) or f"exit status {done.returncode}",
                f"see {self.cache_dir / 'daemon.log'}",
            )
        return data

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [os.fspath(self.program), *arguments],
            env=self.env(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


def _integers(value: object) -> dict[str, int]:
    return {str(name): int(count) for name, count in value.items()} if isinstance(value, dict) else {}
