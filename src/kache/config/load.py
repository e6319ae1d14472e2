"""Read the configuration: environment over `.kache.toml`, the user's file, the machine's, defaults.

A bad value never raises: it becomes a `ConfigProblem` and the next rank's value stays, because the compile that asked
must go on. On the compile path this runs once a process, so it costs a few stats and no import it does not need.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kache.config import paths
from kache.config.remote import RemotePlace, overridden
from kache.config.settings import MAX_DEFAULT_SIZE_BYTES, MIN_DEFAULT_SIZE_BYTES, SETTINGS, Setting
from kache.util.toml_lines import error_line, line_of, line_of_table

TABLE = "cache"
DEFAULT_ORIGIN = "default"
_SUGGESTION_CUTOFF = 0.6
# Other KACHE_ variables are other parts' (KACHE_PYTHON, the tests' fault switches): only a near miss is worth a word.
_ENV_TYPO_CUTOFF = 0.86
_OTHER_ENV = frozenset(
    {
        "KACHE_CONFIG",
        "KACHE_PULL_REQUEST",
        "KACHE_PYTHON",
        "KACHE_S3_ACCESS_KEY",
        "KACHE_S3_SECRET_KEY",
        "KACHE_S3_SESSION_TOKEN",
        "KACHE_REMOTE_SIGNING_KEY",
        "KACHE_REMOTE_TRUSTED_KEYS",
        "KACHE_PLANNER_TOKEN",
        "KACHE_PLANNER_TOKENS",
        "KACHE_PLANNER_DATABASE",
    }
)
_S3_NAMES = ("bucket", "prefix", "endpoint", "region", "profile")


@dataclass(frozen=True, slots=True)
class ConfigProblem:
    """A value that was not taken.

    Attributes:
        origin: `/path/.kache.toml:3` or `KACHE_MAX_SIZE`.
        what: what is wrong.
        expected: what would be right.
    """

    origin: str
    what: str
    expected: str

    def __str__(self) -> str:
        return f"{self.origin}: {self.what}; expected {self.expected}"


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting with a value; `kache.config.settings` says what each means.

    Attributes:
        origins: attribute -> where its value came from (`KACHE_MAX_SIZE`, `/path/.kache.toml:3` or `default`).
        problems: values that were not taken, in reading order.
        files: the files that were read, highest rank first.
    """

    cache_dir: Path
    socket_path: Path
    max_size_bytes: int
    key_salt: str = ""
    daemon: bool = True
    disabled: bool = False
    local_only: bool = False
    trust_domain: str = ""
    remote: RemotePlace | None = None
    remote_readonly: bool = False
    remote_pull_requests: str = "read"
    remote_concurrency: int = 16
    remote_upload_rate: int = 0
    remote_download_rate: int = 0
    remote_stall_s: float = 0.8
    remote_wait_s: float = 0.25
    remote_warm_limit_s: float = 60.0
    remote_queue: int = 20_000
    prefetch: bool = True
    prefetch_max_bytes: int = 2 << 30
    planner: str = ""
    s3_bucket: str = ""
    s3_prefix: str = ""
    s3_endpoint: str = ""
    s3_region: str = ""
    s3_profile: str = ""
    log_level: str = "info"
    base_dir: Path | None = None
    remap: bool = True
    incremental: str = "off"
    observe: bool = True
    warm_start: bool = False
    warm_start_scripts: str = "packages"
    progress: bool = False
    summary: str = "auto"
    verify: str = "off"
    idle_timeout_s: float = 3 * 3600.0
    gc: bool = True
    origins: dict[str, str] = field(default_factory=dict)
    problems: tuple[ConfigProblem, ...] = ()
    files: tuple[Path, ...] = ()


def load(env: Mapping[str, str], cwd: Path | None) -> Config:
    """Read environment and files.

    Args:
        env: the caller's environment (names and values decoded with `os.fsdecode`), not the daemon's own.
        cwd: where the search for `.kache.toml` starts, upward; None reads the user's and the machine's files only.

    Returns:
        The configuration; never raises for what a user wrote.
    """
    reader = _Reader()
    reader.read_environment(env)
    for path in _files(env, cwd, reader):
        reader.read_file(path)
    return reader.finish(env)


def default_max_size_bytes(cache_dir: Path) -> int:
    """5 % of the disk that holds the cache dir, at least 5 GiB and at most 100 GiB."""
    directory = cache_dir
    while True:
        try:
            facts = os.statvfs(directory)
        except OSError:
            if directory.parent == directory:
                return MIN_DEFAULT_SIZE_BYTES
            directory = directory.parent
            continue
        share = facts.f_blocks * facts.f_frsize // 20
        return min(max(share, MIN_DEFAULT_SIZE_BYTES), MAX_DEFAULT_SIZE_BYTES)


class _Reader:
    """Collects values in falling rank: the first good value of a setting stays."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.origins: dict[str, str] = {}
        self.problems: list[ConfigProblem] = []
        self.files: list[Path] = []

    def read_environment(self, env: Mapping[str, str]) -> None:
        for setting in SETTINGS:
            raw = env.get(setting.env, "")
            if raw:  # an empty variable counts as unset everywhere, in the launcher too
                self._take(setting, raw, setting.env)
        for name in env:
            if name.startswith("KACHE_") and name not in _KNOWN_ENV:
                near = _suggestion(name, _KNOWN_ENV, _ENV_TYPO_CUTOFF)
                if near:
                    self.problem(name, "kache has no such variable", near)

    def read_file(self, path: Path) -> None:
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return
        except UnicodeDecodeError:
            self.problem(str(path), "the file is not UTF-8", "a TOML file in UTF-8")
            return
        except OSError as error:
            self.problem(str(path), f"the file cannot be read ({error.strerror})", "a readable TOML file")
            return
        self.files.append(path)
        import tomllib  # 3 ms that only those with a file pay

        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            line = error_line(str(error), text)
            self.problem(f"{path}:{line}", f"not TOML: {error}", f"a [{TABLE}] table with key = value lines")
            return
        self._read_document(path, document, text.splitlines())

    def _read_document(self, path: Path, document: dict[str, Any], lines: list[str]) -> None:
        for name, value in document.items():
            if name == TABLE and isinstance(value, dict):
                continue
            where = line_of(lines, "", name) or line_of_table(lines, name)
            expected = f"{name} below a [{TABLE}] line" if name in _BY_NAME else f"only a [{TABLE}] table"
            self.problem(f"{path}:{where or 1}", f"kache knows nothing named {name!r} here", expected)
        table = document.get(TABLE)
        if not isinstance(table, dict):
            return
        for name, value in table.items():
            origin = f"{path}:{line_of(lines, TABLE, name) or line_of(lines, '', TABLE) or 1}"
            setting = _BY_NAME.get(name)
            if setting is None:
                near = _suggestion(name, list(_BY_NAME), _SUGGESTION_CUTOFF)
                self.problem(origin, f"unknown key {name!r}", near or f"one of {', '.join(_BY_NAME)}")
            elif setting.env_only:
                self.problem(origin, f"{name!r} cannot be set in a file", f"the environment variable {setting.env}")
            else:
                # A path is relative to the file that says it.
                is_path = setting.type == "path" and isinstance(value, str)
                self._take(setting, str(path.parent / value) if is_path else value, origin)

    def _take(self, setting: Setting, raw: object, origin: str) -> None:
        try:
            value = setting.parse(raw)
        except ValueError as error:
            self.problem(origin, f"{raw!r} is not a value for {setting.name}", str(error))
            return
        if setting.attribute not in self.values:
            self.values[setting.attribute] = value
            self.origins[setting.attribute] = origin

    def problem(self, origin: str, what: str, expected: str) -> None:
        self.problems.append(ConfigProblem(origin, what, expected))

    def finish(self, env: Mapping[str, str]) -> Config:
        # Always by the launcher's rules, also for a bad value: both sides must look in one place.
        self.values["cache_dir"] = paths.cache_dir(env)
        self.values["socket_path"] = paths.socket_path(env)
        for setting in SETTINGS:
            self.origins.setdefault(setting.attribute, DEFAULT_ORIGIN)
            if setting.attribute not in self.values and setting.name != "max_size":
                self.values[setting.attribute] = setting.default
        if self.values["incremental"] is None:
            # On macOS incremental state under cloned files has corrupted builds.
            self.values["incremental"] = "off" if sys.platform == "darwin" else "adaptive"
        if "max_size_bytes" not in self.values:
            self.values["max_size_bytes"] = default_max_size_bytes(self.values["cache_dir"])
        s3 = {name: self.values[f"s3_{name}"] for name in _S3_NAMES}
        self.values["remote"] = None if self.values["local_only"] else overridden(self.values["remote"], **s3)
        return Config(**self.values, origins=self.origins, problems=tuple(self.problems), files=tuple(self.files))


def _files(env: Mapping[str, str], cwd: Path | None, reader: _Reader) -> list[Path]:
    """The project's file, then the user's or the one named in its place, then the machine's.

    A checkout says what it needs in either of the first two.
    """
    project = paths.project_config_path(cwd) if cwd is not None else None
    files = [project] if project else []
    named = env.get("KACHE_CONFIG", "")
    own = (cwd or Path("/")) / named if named else paths.user_config_path(env)
    system = paths.system_config_path(env)
    if named and not own.is_file():
        reader.problem("KACHE_CONFIG", f"there is no file {own}", "the path of a TOML file")
        return [*files, system]
    return [*files, own, system]


def _suggestion(name: str, known: list[str], cutoff: float) -> str:
    import difflib  # only for those who mistyped

    near = difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
    return near[0] if near else ""


_BY_NAME = {setting.name: setting for setting in SETTINGS}
_KNOWN_ENV = [*(setting.env for setting in SETTINGS), *_OTHER_ENV]
