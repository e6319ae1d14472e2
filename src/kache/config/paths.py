"""Where the cache dir, the socket and the configuration files are.

The native launcher computes the socket's place by the same rules from the same environment ("Where the socket is" in
docs/explanation/protocol.md), so they work on the text of the variables: `Path` would fold `//` and a trailing `/`, and
the hashes of the two sides would differ.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

SOCKET_NAME = "daemon.sock"
MAX_SOCKET_PATH_BYTES = 100
"""Longest path bound directly: sun_path holds 104 bytes on macOS and 108 on Linux, with the ending NUL."""
PROJECT_FILE = ".kache.toml"
SHARED_TMP = Path("/tmp")  # noqa: S108 - below it a directory of our own, checked for owner and mode

_FNV_OFFSET = 0xCBF29CE484222325
_FNV_PRIME = 0x100000001B3


def home_dir(env: Mapping[str, str]) -> str:
    """The home directory: HOME, or the account's own where that is unset or empty."""
    home = env.get("HOME", "")
    if home:
        return home
    import pwd

    try:
        return pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:  # a container's uid without an account
        return "/"


def cache_dir(env: Mapping[str, str]) -> Path:
    """The cache dir; it need not exist."""
    return Path(_cache_dir_text(env))


def socket_path(env: Mapping[str, str]) -> Path:
    """The daemon's socket; it need not exist."""
    explicit = env.get("KACHE_SOCKET_PATH", "")
    if explicit:
        return Path(explicit)
    directory = _cache_dir_text(env)
    beside_store = f"{directory}/{SOCKET_NAME}"
    if len(os.fsencode(beside_store)) <= MAX_SOCKET_PATH_BYTES:
        return Path(beside_store)
    name = f"{fnv1a64(os.fsencode(directory)):016x}.sock"
    return Path(f"/tmp/kache-{os.getuid()}", name)  # noqa: S108 - the protocol says so; the directory must be ours


def user_config_path(env: Mapping[str, str]) -> Path:
    """The user's own configuration file; it need not exist."""
    xdg = env.get("XDG_CONFIG_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg, "kache", "config.toml")
    below_home = "Library/Application Support" if sys.platform == "darwin" else ".config"
    return Path(home_dir(env), below_home, "kache", "config.toml")


def system_config_path(env: Mapping[str, str]) -> Path:
    """The machine's configuration file, of whoever runs it; it need not exist.

    Source: XDG base directory specification, of whose directories the first alone is looked at.
    """
    first = env.get("XDG_CONFIG_DIRS", "").split(":")[0]
    return Path(first if first.startswith("/") else "/etc/xdg", "kache", "config.toml")


def state_dir(env: Mapping[str, str]) -> Path:
    """What belongs to the machine and outlives a cache: toolchains identified, what `kache init` can take back."""
    xdg = env.get("XDG_STATE_HOME", "")
    if xdg.startswith("/"):
        return Path(xdg, "kache")
    below_home = "Library/Application Support/kache/state" if sys.platform == "darwin" else ".local/state/kache"
    return Path(home_dir(env), below_home)


def keys_dir(env: Mapping[str, str]) -> Path:
    """Where keys are kept, beside the user's configuration file; it need not exist."""
    return user_config_path(env).parent / "keys"


def project_config_path(start: Path) -> Path | None:
    """The nearest `.kache.toml` in `start` or above it."""
    for directory in (start, *start.parents):
        candidate = directory / PROJECT_FILE
        if candidate.is_file():
            return candidate
    return None


def fnv1a64(data: bytes) -> int:
    """FNV-1a, 64 bits. Source: draft-eastlake-fnv, section 2."""
    value = _FNV_OFFSET
    for byte in data:
        value = ((value ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return value


def _cache_dir_text(env: Mapping[str, str]) -> str:
    explicit = env.get("KACHE_CACHE_DIR", "")
    if explicit:
        return explicit
    xdg = env.get("XDG_CACHE_HOME", "")
    if xdg.startswith("/"):
        return f"{xdg}/kache"
    below_home = "Library/Caches" if sys.platform == "darwin" else ".cache"
    return f"{home_dir(env)}/{below_home}/kache"
