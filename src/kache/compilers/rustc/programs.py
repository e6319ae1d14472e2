"""Programs by name: where PATH has them."""

from __future__ import annotations

import os
from collections.abc import Mapping


def which(program: bytes, env: Mapping[bytes, bytes], cwd: bytes, passed: list[bytes] | None = None) -> bytes | None:
    """Absolute path of a program, None if there is none.

    Args:
        program: a name, or a path.
        env: whose PATH decides.
        cwd: relative directories count from here.
        passed: gets the places before it where it is not: one that appeared there would be taken instead.
    """
    if b"/" in program:
        path = os.path.join(cwd, program)
        return path if os.path.isfile(path) else None
    missing: list[bytes] = []
    for directory in path_dirs(env):
        path = os.path.join(cwd, directory, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            if passed is not None:
                passed += missing
            return path
        if not os.path.lexists(path):
            missing.append(path)
    return None


def path_dirs(env: Mapping[bytes, bytes]) -> list[bytes]:
    """The directories of PATH."""
    return [part for part in env.get(b"PATH", b"").split(b":") if part]
