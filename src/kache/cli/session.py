"""What every command starts from: environment, configuration, and an index that is up to date."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kache.cli.diagnostics import say
from kache.config.load import Config, load
from kache.errors import DaemonSilentError, KacheError

_FLUSH_S = 3.0


@dataclass(frozen=True, slots=True)
class Session:
    """One run of the CLI."""

    env: Mapping[str, str]
    cwd: Path | None
    config: Config
    as_json: bool

    @classmethod
    def open(cls, env: Mapping[str, str], *, as_json: bool, flags: Iterable[str] = ()) -> Session:
        """Read the configuration for the current directory; `flags` are attributes that `--config` has set in `env`."""
        try:
            cwd = Path.cwd()
        except OSError:  # deleted under us; the commands do without .kache.toml
            cwd = None
        config = load(env, cwd)
        config.origins.update(dict.fromkeys(flags, "--config"))
        return cls(env=env, cwd=cwd, config=config, as_json=as_json)

    def warn_of_config_problems(self) -> None:
        """Name each value that was not taken, on stderr."""
        for problem in self.config.problems:
            say(f"warning: {problem}")

    def flush_daemon(self) -> None:
        """Have a running daemon write what it still holds; without one there is nothing to do."""
        if not self.config.socket_path.exists():
            return
        from kache.ipc.client import control

        try:
            control(self.config.socket_path, {"op": "flush"}, timeout_s=_FLUSH_S)
        except DaemonSilentError:
            say(f"warning: the daemon did not answer within {_FLUSH_S:.0f} s; its latest calls are not counted")
        except (KacheError, OSError):
            return  # without a daemon what is on disk is all there is

    def real_path(self, path: Path | None) -> str | None:
        """A path as /proc has it of cargo, which events remember: absolute, links resolved."""
        return None if path is None else os.path.realpath(Path(self.cwd or "/", path))

    @contextmanager
    def index(self) -> Iterator[sqlite3.Connection | None]:
        """The index for reading, with the daemon's latest records; None when there is no store yet."""
        from kache.reports.database import reading

        self.flush_daemon()
        with reading(self.config.cache_dir) as connection:
            yield connection
