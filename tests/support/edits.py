"""Edits, the incremental state they leave, and what the compiler said of them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

from tests.support import processes
from tests.support.checkout import Built, Checkout
from tests.support.processes import Process
from tests.support.sandbox import Sandbox

MAIN, LIB = "src/main.rs", "src/lib.rs"


def states(checkout: Checkout) -> list[Path]:
    """The state directories of a checkout, one for each edited unit."""
    return sorted(checkout.target.glob("*/incremental/kache/*"))


def sessions(checkout: Checkout, unit: str) -> list[Path]:
    """What rustc has finished for a unit."""
    found = checkout.target.glob(f"*/incremental/kache/{unit}-*/{unit}-*/s-*")
    return [path for path in found if path.is_dir() and not path.name.endswith("-working")]


def entries(box: Sandbox) -> int:
    """Entries of the index."""
    connection = sqlite3.connect(f"file:{box.index}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])
    finally:
        connection.close()


def prepared(checkout: Checkout) -> None:
    """Wait until nothing is made for a next edit any more."""
    box = checkout.box
    if box.engine == "daemon":
        processes.until(lambda: not waiting(box), limit_s=60, what="prepared")


def waiting(box: Sandbox) -> int:
    """States to be made, the one under way among them."""
    return int(box.data("daemon", "status")["edit_states"])


def making(box: Sandbox) -> list[Process]:
    """The compile that makes state, no cargo being there."""
    return [found for found in box.processes() if not found.runs("kache.daemon")]


def diagnostics(built: Built) -> list[dict[str, Any]]:
    """What the compiler said."""
    return [document for document in built.json if document["reason"] == "compiler-message"]


def edited(checkout: Checkout, name: str, old: str, *steps: str) -> str:
    """Edit, build, edit, build, ...: each step in place of the one before; what the last one was."""
    for new in steps:
        checkout.edit(name, old, new)
        checkout.build()
        old = new
    return old
