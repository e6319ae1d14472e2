"""What clippy reads beside sources: its configuration, found upward from the package, and the workspace's lock file."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kache.core.digest import Digest, hash_bytes

_NAMES = (b".clippy.toml", b"clippy.toml")
"""In the order clippy tries them. Source: clippy_config `lookup_conf_file`."""


def configuration(env: Mapping[bytes, bytes], cwd: bytes) -> tuple[list[bytes], list[bytes]]:
    """Files that exist and decide, and places where one that appeared would decide instead.

    clippy takes the first directory upward that has a configuration. Its dep-info names the file it took, not those
    that were missing; `clippy::cargo` lints read the lock file through cargo, which no dep-info names.

    Args:
        env: the caller's environment.
        cwd: where cargo runs the driver: the workspace root.
    """
    start = env.get(b"CLIPPY_CONF_DIR") or env.get(b"CARGO_MANIFEST_DIR") or cwd
    directory = os.path.realpath(os.path.join(cwd, start))  # as clippy does: a member may be a link
    present: list[bytes] = []
    absent: list[bytes] = []
    while not present:
        for name in _NAMES:
            path = os.path.join(directory, name)
            (present if os.path.isfile(path) else absent).append(path)
        if directory in (b"/", b""):
            break
        directory = os.path.dirname(directory)
    lock_file = os.path.join(cwd, b"Cargo.lock")
    (present if os.path.isfile(lock_file) else absent).append(lock_file)
    return present, absent


def places_above(root: bytes) -> list[bytes]:
    """Where clippy looks once it has left a checkout, the nearest first."""
    found: list[bytes] = []
    while (directory := os.path.dirname(root)) != root:
        found += [os.path.join(directory, name) for name in _NAMES]
        root = directory
    return found


def configuration_above(root: bytes) -> Digest:
    """Digest of what clippy would take from above a checkout: its content, wherever it lies."""
    for path in places_above(root):
        if os.path.isfile(path):
            try:
                with open(path, "rb") as file:
                    return hash_bytes(b"\x01" + file.read())
            except OSError:
                return hash_bytes(b"\x02" + path)
    return hash_bytes(b"")
