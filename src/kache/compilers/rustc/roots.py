"""The directories a build's paths hang on, found out and never configured, and their names in keys and outputs.

A root has a real path (this checkout's), a placeholder (in keys, memos and stored text: `<cwd>/src/lib.rs`) and, where
rustc is told to remap it, a stable name (in artifacts: `/proc/self/cwd/src/lib.rs`). A real absolute path starts with
`/`, so a placeholder is never mistaken for one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from kache.compilers.rustc.invocation import Invocation
from kache.core.replacements import put_back, replace

TARGET_TAG = b"CACHEDIR.TAG"
# On Linux a debugger started in the checkout finds the sources through it.
CWD_NAME = b"/proc/self/cwd"
_STD_SOURCES = b"<rust-src>"
_PROFILE_SUBDIRS = (b"deps", b"examples", b"build")


def is_package(name: bytes) -> bool:
    """Whether a normalised path is of a registry or git package, which nobody edits."""
    return name.startswith((b"<cargo-home>/registry/", b"<cargo-home>/git/"))


class Root(NamedTuple):
    """One directory.

    Attributes:
        placeholder: `<cwd>`, `<target>`, `<cargo-home>`, `<base>`, `<sysroot>`, `<rust-src>` or `<home>`.
        path: real absolute path without a trailing slash.
        name: what rustc calls it when remapping; empty if rustc is not told.
    """

    placeholder: bytes
    path: bytes
    name: bytes


@dataclass(frozen=True, slots=True)
class Roots:
    """The roots of one invocation.

    Attributes:
        all: longest real path first.
        cwd: the compiler's working directory.
    """

    all: tuple[Root, ...]
    cwd: bytes
    _paths: dict[bytes, bytes] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_paths", {root.placeholder: root.path for root in self.all})

    def normalise(self, path: bytes) -> bytes:
        """Name a path in a key: relative ones count from the working directory; outside every root it stays real."""
        if path[:1] != b"/":
            path = self.cwd + b"/" + path
        for placeholder, root, _ in self.all:
            if path.startswith(root) and (len(path) == len(root) or path[len(root)] == 0x2F):
                return placeholder + path[len(root) :]
        return path

    def remapped(self, path: bytes) -> bytes:
        """The same by those roots alone that rustc is told stable names for."""
        for placeholder, root, name in self.all:
            if name and path.startswith(root) and path[len(root) : len(root) + 1] in (b"", b"/"):
                return placeholder + path[len(root) :]
        return path

    def told(self, path: bytes) -> bytes:
        """What rustc calls a path when remapping."""
        for _, root, name in self.all:
            if name and path.startswith(root) and path[len(root) : len(root) + 1] in (b"", b"/"):
                return name + path[len(root) :]
        return path

    def real(self, name: bytes) -> bytes:
        """The path a normalised name stands for here; an unknown placeholder gives a path that never exists."""
        if name[:1] == b"/":
            return name
        end = name.find(b">") + 1
        path = self._paths.get(name[:end])
        return b"/nonexistent/" + name if path is None else path + name[end:]

    def holds_path(self, value: bytes) -> bool:
        """Whether a text contains the real path of some root."""
        return any(root.path in value for root in self.all)

    def normalise_value(self, value: bytes) -> bytes:
        """A text (an environment value) with every root's path replaced where a path component ends."""
        if b"/" not in value:
            return value  # most of what cargo says of a crate
        return replace(value, [word for root in self.all for word in (root.path, root.placeholder)])

    def pairs(self) -> list[tuple[bytes, bytes]]:
        """(real path, placeholder), longest path first."""
        return [(root.path, root.placeholder) for root in self.all]

    def remap_flags(self) -> list[bytes]:
        """Flags for rustc: the last match wins there, so the longest path comes last."""
        return [b"--remap-path-prefix=" + root.path + b"=" + root.name for root in reversed(self.all) if root.name]

    def needles(self) -> tuple[bytes, ...]:
        """Real paths whose presence in an artifact ties it to this place: those no other one is a prefix of."""
        named = [root.path for root in self.all if root.name or root.placeholder == _STD_SOURCES]
        return tuple(path for path in named if not any(o != path and path.startswith(o + b"/") for o in named))

    def tied_to(self, needle: bytes) -> list[Root]:
        """The roots at or below a needle."""
        return [root for root in self.all if root.path == needle or root.path.startswith(needle + b"/")]

    def reverse(self, *, json: bool) -> list[bytes]:
        """What the launcher replaces in messages, flat: stable name, real path, ... ; longest name first.

        The working directory's come last: a checkout below a real `/cargo` is not taken for a stable name.
        """
        named = [root for root in self.all if root.name]
        named.sort(key=lambda root: (root.name.startswith(CWD_NAME), -len(root.name)))
        flat: list[bytes] = []
        for root in named:
            flat += (root.name, json_escaped(root.path) if json else root.path)
        return flat

    def to_template(self, text: bytes, *, json: bool) -> bytes:
        """Messages for the store: real paths become placeholders. `from_template` turns them back."""
        pairs = [(json_escaped(root.path) if json else root.path, _token(root.placeholder)) for root in self.all]
        return replace(text, [word for pair in pairs for word in pair])

    def from_template(self, text: bytes, *, json: bool) -> bytes:
        """Messages of the store with this checkout's paths, stable names replaced as the launcher does on a miss."""
        if not text:
            return text
        text = put_back(text, self.reverse(json=json))
        for placeholder, path, _ in self.all:
            token = _token(placeholder)
            if token in text:
                text = text.replace(token, json_escaped(path) if json else path)
        return text


def discover(
    call: Invocation, cwd: bytes, env: Mapping[bytes, bytes], *, sysroot: bytes, base_dir: bytes | None
) -> Roots:
    """Find the roots of one call.

    Args:
        call: the parsed call: its out dir, and whether its source is named absolutely, as cargo does for a package
            outside the workspace.
        cwd: the compiler's working directory: the workspace root for its members, else the package's own directory.
        env: the caller's environment.
        sysroot: of the toolchain.
        base_dir: `KACHE_BASE_DIR`.
    """
    home = env.get(b"HOME", b"").rstrip(b"/")
    cargo_home = (env.get(b"CARGO_HOME") or (home + b"/.cargo" if home else b"")).rstrip(b"/")
    roots = [Root(b"<target>", target_dir(call.out_dir), CWD_NAME + b"/target")]
    if cargo_home:
        roots.append(Root(b"<cargo-home>", cargo_home, b"/cargo"))
    in_cargo_home = cargo_home and cwd.startswith(cargo_home + b"/")
    # A path package outside the workspace has its absolute path in cargo's own metadata hash: no other checkout can
    # share it, and a remapped name would only make its messages and `file!()` wrong.
    if not in_cargo_home and call.source[:1] != b"/":
        roots.append(Root(b"<cwd>", cwd, CWD_NAME))
    if base_dir:
        roots.append(Root(b"<base>", base_dir.rstrip(b"/"), b"/kache/base"))
    # Named in keys alone (LD_LIBRARY_PATH): remapped, the standard library's sources were lost to diagnostics.
    roots.append(Root(b"<sysroot>", sysroot.rstrip(b"/"), b""))
    # With the rust-src component rustc names these in debug info and panics; such outputs fit this sysroot alone.
    std_sources = sysroot.rstrip(b"/") + b"/lib/rustlib/src/rust"
    if os.path.isdir(std_sources):
        roots.append(Root(_STD_SOURCES, std_sources, b""))
    if home:
        roots.append(Root(b"<home>", home, b""))
    usable = {root.path: _told(root) for root in reversed(roots) if len(root.path) > 1 and root.path[:1] == b"/"}
    return Roots(tuple(sorted(usable.values(), key=lambda root: -len(root.path))), cwd)


def _told(root: Root) -> Root:
    """A root as rustc can be told of it: it takes UTF-8 alone, and a flag that is none would fail the compile."""
    try:
        root.path.decode()
    except UnicodeDecodeError:
        return root._replace(name=b"")
    return root


def target_dir(out_dir: bytes) -> bytes:
    """The target (or build) directory of an out dir: the nearest one above it that cargo tagged, else by its shape."""
    directory = out_dir
    while len(directory) > 1:
        if os.path.exists(directory + b"/" + TARGET_TAG):
            return directory
        directory = os.path.dirname(directory)
    for part in _PROFILE_SUBDIRS:
        above, found, _ = out_dir.rpartition(b"/" + part)
        if found:
            return os.path.dirname(above) or above
    return out_dir


def json_escaped(path: bytes) -> bytes:
    """A path as it stands inside a JSON string of rustc's."""
    if _plain(path):
        return path
    escaped = path.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b"".join(bytes((c,)) if c >= 0x20 else b"\\u%04x" % c for c in escaped)


def _plain(path: bytes) -> bool:
    return b'"' not in path and b"\\" not in path and min(path, default=0x20) >= 0x20


def _token(placeholder: bytes) -> bytes:
    # NUL never occurs in rustc's messages, so a literal "<cwd>" in one is not taken for a placeholder.
    return b"\0" + placeholder + b"\0"
