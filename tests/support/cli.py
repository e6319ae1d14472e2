"""The real command line in a scratch home, with an index filled row by row."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

SOURCE = Path(__file__).parents[2] / "src"


@dataclass
class CliBox:
    """A home of its own, and `python -m kache` in it.

    Attributes:
        root: scratch directory; the home, the cache dir and a working directory are below it.
    """

    root: Path

    def __post_init__(self) -> None:
        for directory in (self.home, self.cwd):
            directory.mkdir()

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def cwd(self) -> Path:
        return self.root / "work"

    @property
    def cache_dir(self) -> Path:
        return self.root / "cache"

    def run(self, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run one command; nothing of the caller's HOME, XDG or KACHE variables reaches it."""
        return subprocess.run(
            [sys.executable, "-m", "kache", *words],
            cwd=self.cwd,
            env=self.env(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def env(self, more: dict[str, str] | None = None) -> dict[str, str]:
        """The environment commands run in."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("KACHE_", "XDG_", "COV_"))}
        real_home = Path(kept.get("HOME", "/"))
        toolchain = {
            "RUSTUP_HOME": kept.get("RUSTUP_HOME", str(real_home / ".rustup")),
            "CARGO_HOME": kept.get("CARGO_HOME", str(real_home / ".cargo")),
        }
        own = {
            "HOME": str(self.home),
            "KACHE_CACHE_DIR": str(self.cache_dir),
            "PYTHONPATH": str(SOURCE),
            "COLUMNS": "100",
        }
        return {**kept, **toolchain, **own, **(more or {})}

    def data(self, *words: str) -> dict[str, Any]:
        """Run a command with --json, expect success and give its `data`."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr + done.stdout
        document = json.loads(done.stdout)
        assert document["schema_version"] == 1
        assert document["success"] is True
        found: dict[str, Any] = document["data"]
        return found

    def error(self, *words: str) -> dict[str, Any]:
        """Run a command with --json, expect a known failure and give its `error`."""
        done = self.run(*words, "--json")
        assert done.returncode in (1, 2), done.stderr + done.stdout
        document = json.loads(done.stdout)
        assert document["success"] is False
        found: dict[str, Any] = document["error"]
        return found

    def index(self) -> Index:
        """The index, made by the store itself."""
        from kache.store.local import LocalStore

        LocalStore.open(self.cache_dir).close()
        return Index(self.cache_dir / "store" / "index.db")


class Index:
    """Rows written behind the store's back: what the reports read is a table, whoever filled it."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.now_ns = time.time_ns()

    def insert(self, table: str, **values: object) -> None:
        """One row."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        self.connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", list(values.values()))

    def build(self, build: str, *, age_s: float = 0) -> None:
        """One cargo process."""
        at_ns = self.now_ns - int(age_s * 1e9)
        self.insert("builds", id=build, started_ns=at_ns, last_ns=at_ns, root="/ws", command="cargo build")

    def event(
        self,
        outcome: str,
        *,
        crate: str = "serde",
        build: str = "1-1",
        age_s: float = 0,
        inputs: dict[str, str] | list[tuple[str, str]] | None = None,
        **values: object,
    ) -> None:
        """One rustc call."""
        pairs = list(inputs.items()) if isinstance(inputs, dict) else inputs
        body = zlib.compress(msgspec.msgpack.encode(pairs)) if pairs else None
        row = {
            "at_ns": self.now_ns - int(age_s * 1e9),
            "build": build,
            "crate_name": crate,
            "unit_kind": "lib",
            "outcome": outcome,
            "elapsed_us": 0,
            "compile_ms": 0,
            "linked_bytes": 0,
            "cloned_bytes": 0,
            "copied_bytes": 0,
            "inputs": body,
        }
        self.insert("events", **{**row, **values})

    def entry(self, crate: str, *, number: int, **values: object) -> None:
        """One entry without blobs."""
        row = {
            "key": bytes([number]) * 32,
            "weak_key": bytes([number]) * 32,
            "crate_name": crate,
            "unit_kind": "lib",
            "created_ns": self.now_ns,
            "used_ns": self.now_ns,
            "hits": 0,
            "compile_ms": 100,
            "bytes": 1000,
            "body": b"",
        }
        self.insert("entries", **{**row, **values})
