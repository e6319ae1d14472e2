"""Whether what a unit read is here as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from kache.compilers.file_digests import FileDigests
from kache.compilers.rustc.beside import ABOVE
from kache.compilers.rustc.closure import CHECKOUT_NAME, CLIPPY, ENVIRONMENT, Surroundings, holds
from kache.compilers.rustc.roots import Roots
from kache.core.entry import InputKind, InputMemo
from kache.engine.warm_start.capture import tie_of
from kache.engine.warm_start.declared import content_of

_COMPARED = (ENVIRONMENT, CHECKOUT_NAME, CLIPPY, ABOVE)
"""How facts begin that cargo knows nothing of; where a root's path got in the unit is tied; messages are not kept."""


@dataclass(frozen=True, slots=True)
class Checkout:
    """Where units are placed.

    Attributes:
        workspace: its root, absolute.
        sysroot: of the toolchain.
        env: cargo's.
        salt: of the digests of variables.
        target_dir: absolute.
        cargo_home: absolute.
        steering: `host.steering` of cargo's environment.
        umask: cargo's.
        host: identity of the tools that build scripts and links find.
        date_ns: what is dated now gets this date: a moment before any input was looked at, so that a source saved
            later is newer, whatever the clock's grain.
        links_programs: what a linker made may be a hardlink: no linker here would write into it.
        fills_up: cargo may have built there before: units that are there stay, and fit with those that come.
    """

    workspace: bytes
    sysroot: bytes
    env: Mapping[bytes, bytes]
    salt: bytes
    target_dir: bytes
    cargo_home: bytes
    steering: bytes
    umask: int
    host: bytes
    date_ns: int
    links_programs: bool
    fills_up: bool = False

    @property
    def tie(self) -> bytes:
        """What a unit with paths in it must have been made for."""
        return tie_of(self.target_dir, self.workspace)


class Inputs:
    """Compares memos with a checkout; what many units read is looked at once.

    Args:
        checkout: it.
        digests: the stat memo.
        artifacts: what was placed, path below the target directory to digest; it grows meanwhile.

    Attributes:
        newest_ns: when the newest source of the memo compared last was saved, ns.
    """

    def __init__(self, checkout: Checkout, digests: FileDigests, artifacts: Mapping[str, bytes]) -> None:
        self.newest_ns = 0
        self._checkout = checkout
        self._digests = digests
        self._artifacts = artifacts
        self._contents: dict[bytes, bytes | None] = {}
        self._paths: dict[bytes, bytes] = {}
        self._absent: set[bytes] = set()

    def what_changed(self, memo: InputMemo, roots: Roots, env: Mapping[bytes, bytes] | None = None) -> str | None:
        """The first input that is not what was read, or None; flags, and variables rustc tracks, cargo compares.

        Args:
            memo: what was read.
            roots: of this checkout.
            env: what variables are compared with; cargo's if None.
        """
        self.newest_ns = 0
        around = Surroundings(roots, self._checkout.env if env is None else env, (), self._checkout.salt)
        for item in memo.inputs:
            path = self._path(item.name, roots)
            if item.kind == InputKind.FILE:
                if self.content(path) != item.value:
                    return f"file:{os.fsdecode(item.name)}"
                self.newest_ns = max(self.newest_ns, self._saved_ns(path))
            elif item.kind == InputKind.ABSENT:
                if path in self._absent:
                    continue
                if os.access(path, os.F_OK):
                    return f"absent:{os.fsdecode(item.name)}"
                self._absent.add(path)
            elif item.kind == InputKind.ENV or (item.kind == InputKind.FACT and not item.name.startswith(_COMPARED)):
                continue
            elif not holds(item, around, self._digests, {}):
                return f"{item.kind.name.lower()}:{os.fsdecode(item.name)}"
        return None

    def _path(self, name: bytes, roots: Roots) -> bytes:
        """`Roots.real`; what many units read has one name in all of them."""
        if name.startswith((b"<cwd>", b"<target>")):
            return roots.real(name)
        path = self._paths.get(name)
        if path is None:
            path = self._paths[name] = roots.real(name)
        return path

    def _saved_ns(self, path: bytes) -> int:
        """When a source of the checkout was saved; what is below the target directory was made, not saved."""
        checkout = self._checkout
        is_source = path.startswith(checkout.workspace) and not path.startswith(checkout.target_dir)
        return mtime_ns(path) if is_source else 0

    def content(self, path: bytes) -> bytes | None:
        """Content of a file or directory here, see `content_of`; None where it cannot be read."""
        if path not in self._contents:
            here = self._checkout.target_dir + b"/"
            placed = self._artifacts.get(os.fsdecode(path[len(here) :])) if path.startswith(here) else None
            if placed is not None:
                return placed
            try:
                self._contents[path] = content_of(path, self._digests)
            except OSError:
                self._contents[path] = None
        return self._contents[path]


def mtime_ns(path: bytes) -> int:
    """A file's date, 0 for one that is not there."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0
