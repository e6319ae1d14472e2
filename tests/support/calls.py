"""Parsed rustc calls as tests need them."""

from __future__ import annotations

from kache.compilers.rustc.args import parse
from kache.compilers.rustc.invocation import Invocation

LOOK = (b"--error-format=json", b"--json=diagnostic-rendered-ansi,artifacts,future-incompat")


def invocation(
    *more: bytes,
    name: bytes = b"a",
    source: bytes = b"src/lib.rs",
    crate_type: bytes = b"lib",
    out_dir: bytes = b"/home/me/ws/target/debug/deps",
    cwd: bytes = b"/home/me/ws",
) -> Invocation:
    """A library compile as cargo asks for it, with more arguments behind."""
    call = parse(
        [
            *(b"rustc", b"--crate-name", name, b"--edition=2021", source, *LOOK),
            *(b"--crate-type", crate_type, b"--emit=dep-info,metadata,link"),
            *(b"-C", b"metadata=0123456789abcdef", b"-C", b"extra-filename=-0123456789abcdef"),
            *(b"--out-dir", out_dir, *more),
        ],
        cwd,
    )
    assert isinstance(call, Invocation), call
    return call
