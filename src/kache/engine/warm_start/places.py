"""What is known of a checkout without looking into it: whether cargo has built there, CARGO_HOME, and its roots."""

from __future__ import annotations

import os
from collections.abc import Mapping

from kache.compilers.rustc.roots import Root, Roots
from kache.engine.warm_start.inputs import Checkout

RESERVE = 2
"""So many times the bytes of what is placed must be free: what cargo builds needs room as well."""


def is_virgin(target_dir: bytes) -> bool:
    """Whether cargo has never built here: it then probes the compiler, and nothing can be overwritten."""
    return not os.path.exists(target_dir + b"/.rustc_info.json")


def cargo_home_of(env: Mapping[bytes, bytes]) -> bytes:
    """CARGO_HOME, or where cargo puts it."""
    return (env.get(b"CARGO_HOME") or env.get(b"HOME", b"").rstrip(b"/") + b"/.cargo").rstrip(b"/")


def roots_of(checkout: Checkout, target_dir: bytes) -> Roots:
    """The roots of a workspace member, as `kache.compilers.rustc.roots.discover` finds them when it is compiled.

    Args:
        checkout: where.
        target_dir: the tagged directory nearest above the outputs.
    """
    env, workspace, sysroot = checkout.env, checkout.workspace, checkout.sysroot
    home = env.get(b"HOME", b"").rstrip(b"/")
    named = (
        (b"<target>", target_dir),
        (b"<cargo-home>", cargo_home_of(env)),
        (b"<cwd>", workspace),
        (b"<sysroot>", sysroot),
    )
    remapped = {
        b"<target>": b"/proc/self/cwd/target",
        b"<cargo-home>": b"/cargo",
        b"<cwd>": b"/proc/self/cwd",
    }
    roots = [Root(name, path, remapped.get(name, b"")) for name, path in (*named, (b"<home>", home)) if len(path) > 1]
    unique = {root.path: root for root in reversed(roots)}
    return Roots(tuple(sorted(unique.values(), key=lambda root: -len(root.path))), workspace)


def has_room(target_dir: bytes, size: int) -> bool:
    """Whether a target directory's filesystem has room for so many bytes, and as many again for what is built.

    Args:
        target_dir: it need not be there.
        size: in bytes, as if all were copied.
    """
    directory = target_dir
    while not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize >= RESERVE * size
