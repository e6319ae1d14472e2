"""Settings in the files that hold them: checked before they are written, comments kept."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

from kache.config.load import TABLE, Config
from kache.config.settings import SETTINGS, Setting
from kache.errors import ConfigError, ConfigFileError, UsageError
from kache.setup import files
from kache.setup.toml_edit import Value, with_value, without

_UNITS = (("TiB", 1024**4), ("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
_SPANS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def find(name: str) -> Setting:
    """The setting of a name, its key or its variable.

    Raises:
        UsageError: there is none; the fix names the nearest.
    """
    for setting in SETTINGS:
        if name in (setting.name, setting.env, f"{TABLE}.{setting.name}"):
            return setting
    near = difflib.get_close_matches(name.removeprefix(f"{TABLE}."), [setting.name for setting in SETTINGS], n=1)
    fix = f"did you mean {near[0]}?" if near else "kache config list names them all"
    raise UsageError(f"kache has no setting {name!r}", fix=fix, run=("kache config list",))


def set_value(setting: Setting, text: str, path: Path) -> None:
    """Write one setting.

    Raises:
        ConfigError: the value is wrong, or the setting cannot be set in a file.
        ConfigFileError: the file is not TOML or cannot be written.
    """
    _in_files(setting)
    try:
        setting.parse(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is not a value for {setting.name}", fix=f"write {error}") from error
    _write(path, with_value(_read(path), path, TABLE, setting.name, _as_toml(setting, text)))


def unset_value(setting: Setting, path: Path) -> bool:
    """Remove one setting; False if it was not there.

    Raises:
        ConfigFileError: the file is not TOML or cannot be written.
    """
    before = _read(path)
    after = without(before, path, TABLE, setting.name)
    if after == before:
        return False
    _write(path, after)
    return True


def value_of(config: Config, setting: Setting) -> Any:
    """The value in force, as JSON can say it."""
    value = getattr(config, setting.attribute)
    return str(value) if isinstance(value, Path) else value


def shown(setting: Setting, value: Any) -> str:
    """A value as `kache config set` takes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if setting.type == "size":
        unit, factor = next(((unit, factor) for unit, factor in _UNITS if value and value % factor == 0), ("", 1))
        return f"{value // factor}{unit}"
    if setting.type == "duration":
        unit, factor = next(((unit, factor) for unit, factor in _SPANS if value and value % factor == 0), ("", 1))
        return f"{value / factor:g}{unit}"
    return str(value)


def glance(setting: Setting, value: Any) -> str:
    """A value to be read at a glance: a size of 13527658700 is 12.6GiB."""
    text = shown(setting, value)
    if setting.type == "size" and text.isdigit() and int(text) >= 1024:
        unit, factor = next((unit, factor) for unit, factor in _UNITS if int(text) >= factor)
        return f"{int(text) / factor:.1f}{unit}"
    return text or "-"


def template() -> str:
    """A new file: every setting that can be set there, as a comment."""
    lines = ["# Settings of kache; kache config list shows what is in force and why.", f"[{TABLE}]"]
    for setting in SETTINGS:
        if not setting.env_only:
            default = shown(setting, setting.default)
            value = default if isinstance(setting.default, bool) else f'"{default}"'
            lines += ["", f"# {setting.doc}", f"# {setting.name} = {value}"]
    return "\n".join(lines) + "\n"


def _in_files(setting: Setting) -> None:
    if setting.env_only:
        raise ConfigError(
            f"{setting.name} cannot be set in a file",
            why="the launcher needs it before any file is read",
            fix=f"set the environment variable {setting.env}",
        )


def _as_toml(setting: Setting, text: str) -> Value:
    if setting.type == "switch":
        return bool(setting.parse(text))
    if setting.type in ("size", "duration") and text.strip().isdigit():
        return int(text)
    return text


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise ConfigFileError(f"{path} is not UTF-8", why=str(error)) from error
    except OSError as error:
        raise ConfigFileError(f"cannot read {path}", why=error.strerror or str(error)) from error


def _write(path: Path, text: str) -> None:
    hindrance = files.obstacle(path)
    if hindrance:
        raise ConfigFileError(
            f"cannot write {path}", why=hindrance, fix="make it writable, or name another with --file"
        )
    try:
        files.make_directories(path.parent)
        files.replace(path, text.encode())
    except OSError as error:
        raise ConfigFileError(f"cannot write {path}", why=error.strerror or str(error)) from error
