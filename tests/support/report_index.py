"""A small history for reports: two builds in two checkouts, with every outcome in them."""

from __future__ import annotations

from tests.support.cli import CliBox, Index

NOW_NS = 1_764_000_000 * 10**9


def fill(box: CliBox, now_ns: int = NOW_NS) -> Index:
    """Write it; the newest build began 100 s before `now_ns`."""
    index = box.index()
    index.now_ns = now_ns
    for build, age_s, root in (("1-1", 7300.0, "/src/one"), ("2-2", 100.0, "/src/two <x>")):
        index.build(build, age_s=age_s)
        index.connection.execute("UPDATE builds SET root = ?, command = ? WHERE id = ?", (root, "cargo build|x", build))
    index.event("miss", build="1-1", age_s=7300, compile_ms=900, inputs={"file:src/lib.rs": "a", "arg:opt": "1"})
    index.event("miss", crate="leaf", build="1-1", age_s=7299.9, compile_ms=400, inputs={"file:leaf.rs": "a"})
    index.event("local_hit", build="2-2", age_s=100, compile_ms=900, elapsed_us=2000, linked_bytes=5000, copied_bytes=7)
    index.event(
        "miss", crate="leaf", build="2-2", age_s=99.99, compile_ms=500, elapsed_us=4000, inputs={"file:leaf.rs": "b"}
    )
    index.event("miss", crate="new_one", build="2-2", age_s=99.98, compile_ms=50, inputs={"file:n.rs": "b"})
    index.event("passthrough", crate="", build="2-2", age_s=99.9, reason="query")
    index.event("passthrough", crate="odd", build="2-2", age_s=99.5, reason="unknown-flag", compile_ms=30)
    index.event("error", crate="app", build="2-2", age_s=99.4, reason="restore-failed", compile_ms=30)
    return index
