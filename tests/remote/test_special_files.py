"""In a shared directory anybody may put what is no file; whoever reads it goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.machines import Machines, pushed
from tests.support.projects import chain


@pytest.mark.parametrize("what", ["fifo", "endless", "secret", "directory"])
def test_what_is_no_file_is_a_miss(machines: Machines, tmp_path: Path, what: str) -> None:
    """Guards readers of a share: a pipe nobody writes to, a device without an end, a link to somebody's secret."""
    writer, reader = machines.pair()
    writer.checkout("a", chain()).build().expect(misses=3)
    pushed(writer)
    secret = tmp_path / "secret"
    secret.write_text("the password")
    root = Path(machines.remote.removeprefix("file://"), "v1")
    for path in [path for kind in ("memos", "entries", "packs") for path in (root / kind).rglob("*") if path.is_file()]:
        path.unlink()
        if what == "fifo":
            os.mkfifo(path)
        elif what == "directory":
            path.mkdir()
        else:
            path.symlink_to("/dev/zero" if what == "endless" else secret)
    reader.settings["KACHE_REMOTE_STALL"] = "0.5"
    second = reader.checkout("b", chain())
    built = second.build()
    built.expect(misses=3, hits=0)
    second.same_bytes_as_plain()
    assert "the password" not in reader.log() + built.stderr
    assert reader.kache("daemon", "stop").returncode == 0
