"""cargo's configuration files, and who decides which wrapper cargo calls.

Source: cargo `util/context/mod.rs`: files in `.cargo/` from the working directory upward, then CARGO_HOME; the name
without `.toml` wins where both are there; a tool's own variable (RUSTC_WRAPPER) outranks CARGO_BUILD_RUSTC_WRAPPER,
which outranks every file; set and empty means no wrapper.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kache.config.paths import home_dir
from kache.errors import CargoConfigError
from kache.util.toml_lines import error_line, line_of

_NAMES = ("config", "config.toml")
WRAPPER_VARIABLES = ("RUSTC_WRAPPER", "CARGO_BUILD_RUSTC_WRAPPER")


@dataclass(frozen=True, slots=True)
class Found:
    """A value cargo reads.

    Attributes:
        value: as written.
        origin: the variable, or `/path/config.toml:3`.
        file: the file; None for a variable.
    """

    value: object
    origin: str
    file: Path | None = None


def cargo_home(env: Mapping[str, str]) -> Path:
    """CARGO_HOME, or `.cargo` in the home directory."""
    return Path(env.get("CARGO_HOME") or Path(home_dir(env), ".cargo"))


def user_file(env: Mapping[str, str]) -> Path:
    """The user's own file: the one cargo reads, or the one it would read; it need not exist."""
    home = cargo_home(env)
    return _in(home) or home / _NAMES[1]


def files(env: Mapping[str, str], cwd: Path | None) -> list[Path]:
    """The files cargo reads in a directory, highest rank first."""
    home = cargo_home(env)
    directories = [directory / ".cargo" for directory in (cwd, *cwd.parents)] if cwd is not None else []
    found = [_in(directory) for directory in (*(d for d in directories if d != home), home)]
    return [path for path in found if path is not None and path.exists()]  # cargo passes over a dangling link


def values(env: Mapping[str, str], cwd: Path | None, table: str, key: str) -> Iterator[Found]:
    """Every file's value of one key, highest rank first.

    Raises:
        CargoConfigError: a file is not TOML, or cannot be read; cargo would refuse it as well.
    """
    for path in files(env, cwd):
        text, document = read(path)
        inner = document
        for part in table.split("."):
            below = inner.get(part)
            inner = below if isinstance(below, dict) else {}
        if key in inner:
            lines = text.splitlines()
            yield Found(inner[key], f"{path}:{line_of(lines, table, key) or line_of(lines, '', table) or 1}", path)


def wrappers(env: Mapping[str, str], cwd: Path | None) -> list[Found]:
    """Everybody who names a wrapper for rustc, highest rank first: cargo uses the first.

    Raises:
        CargoConfigError: see `values`.
    """
    from_env = [Found(env[name], name) for name in WRAPPER_VARIABLES if name in env]
    return [*from_env, *values(env, cwd, "build", "rustc-wrapper")]


def program_of(found: Found) -> str:
    """The wrapper as cargo would run it: relative paths in a file start at the directory that holds `.cargo`."""
    text = str(found.value)
    if found.file is not None and "/" in text:
        return str(found.file.parent.parent / text)
    return text


def read(path: Path) -> tuple[str, dict[str, Any]]:
    """A file's text and what it says.

    Raises:
        CargoConfigError: it is not TOML, or cannot be read.
    """
    try:
        text = path.read_bytes().decode()
    except UnicodeDecodeError as error:
        raise CargoConfigError(f"{path} is not UTF-8", why=str(error)) from error
    except OSError as error:
        raise CargoConfigError(f"cannot read {path}", why=error.strerror or str(error)) from error
    try:
        return text, tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CargoConfigError(f"{path}:{error_line(str(error), text)} is not TOML", why=str(error)) from error


def _in(directory: Path) -> Path | None:
    """The configuration file of a `.cargo` directory; a link that leads nowhere counts, as it is in the way."""
    for name in _NAMES:
        path = directory / name
        if os.path.lexists(path) and not path.is_dir():
            return path
    return None
