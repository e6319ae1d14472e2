"""The environment builds run in: the user's own, without what would favour or spoil one side of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

# Wrappers and flags of the user's shell change what is measured; a make around us hands down a jobserver whose
# descriptors are closed here; the target directory must be each checkout's own.
DROPPED = {
    "RUSTC_WRAPPER",
    "RUSTC_WORKSPACE_WRAPPER",
    "CARGO_BUILD_RUSTC_WRAPPER",
    "CARGO_BUILD_RUSTC_WORKSPACE_WRAPPER",
    "RUSTFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_TARGET_DIR",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_BUILD_BUILD_DIR",
    "CARGO_BUILD_TARGET",
    "CARGO_MAKEFLAGS",
    "MAKEFLAGS",
    "MFLAGS",
    "MAKELEVEL",
    "PYTHONPATH",
    "PYTHONHOME",
}
DROPPED_PREFIXES = ("KACHE_", "SCCACHE_", "MBX_", "NOTHING_", "CARGO_PROFILE_")


def plain_env(env: Mapping[str, str], scratch: Path) -> dict[str, str]:
    """Return the environment of a plain build.

    Incremental compilation is off on every side: kache turns it off for what it caches, and a cold build that also
    writes incremental data does other work. An empty RUSTC_WRAPPER overrides one in the user's cargo configuration.
    git must not find a repository around the scratch directory: ripgrep's build script bakes the commit it sees into
    the binary, and a commit made between two builds would then be a difference between them.
    """
    kept = {name: value for name, value in env.items() if name not in DROPPED and not name.startswith(DROPPED_PREFIXES)}
    return kept | {
        "CARGO_INCREMENTAL": "0",
        "RUSTC_WRAPPER": "",
        "CARGO_TERM_COLOR": "never",
        "GIT_CEILING_DIRECTORIES": str(scratch),
    }
