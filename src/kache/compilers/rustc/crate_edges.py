"""What an artifact that the store does not know was compiled against, as far as its own bytes tell.

rustc's metadata lists every crate it loaded, each with its extra filename in plain text (`CrateDep` in
rustc_metadata/src/rmeta; 1.63 to 1.95, seen by experiment). So what an rlib needs is among the libraries beside it
whose extra filename occurs in it. More than that does no harm: it costs hits, never correctness.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache

from kache.core.digest import Digest

_CARGOS = re.compile(rb"-[0-9a-f]{16}")
_MACRO = re.compile(rb"__rustc_proc_macro_decls_[0-9a-f]+__")
"""The symbol that makes a shared library a proc macro. rustc loads it; no linker reads what it was made of."""


def edges_of(path: bytes, digest: Digest, stems: Iterable[bytes]) -> tuple[str, ...] | None:
    """Stems (`libfoo-0123`) of what an artifact may need.

    Args:
        path: an rlib, an rmeta or a shared library.
        digest: of its content.
        stems: the libraries there are.

    Returns:
        None for a dylib: its metadata is compressed.

    Raises:
        OSError: it cannot be read.
    """
    if not path.endswith((b".rlib", b".rmeta")):
        return () if _is_macro(path, digest) else None
    mentioned = _mentioned(path, digest)
    needed = []
    for stem in stems:
        # A crate's name has no dash. What is not of cargo's form cannot be searched for.
        extra = b"".join(stem.partition(b"-")[1:])
        if extra in mentioned or not _CARGOS.fullmatch(extra):
            needed.append(os.fsdecode(stem))
    return tuple(needed)


@lru_cache(maxsize=1024)
def _mentioned(path: bytes, digest: Digest) -> frozenset[bytes]:  # noqa: ARG001 - the digest stands for the content
    with open(path, "rb") as file:
        return frozenset(_CARGOS.findall(file.read()))


@lru_cache(maxsize=1024)
def _is_macro(path: bytes, digest: Digest) -> bool:  # noqa: ARG001 - as above
    with open(path, "rb") as file:
        return _MACRO.search(file.read()) is not None
