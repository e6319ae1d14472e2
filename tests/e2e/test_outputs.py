"""Outputs in the hands of users: written through, stripped, made read-only or deleted, they harm nobody else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon, slow
from tests.support.projects import everything
from tests.support.sandbox import Sandbox

OTHERS = (".fingerprint", "build", "incremental")


def outputs_of(checkout: Checkout) -> list[Path]:
    """Every file rustc or a linker made in the target dir."""
    found = [path for path in (checkout.target / "debug").rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in found if not set(OTHERS) & set(path.relative_to(checkout.target).parts)]


def written_through(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"written through")


def grown(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"appended")


def emptied(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate()


def stripped(path: Path) -> None:
    if path.suffix in (".so", ".rlib", ".a", ""):
        subprocess.run(["strip", "-g", str(path)], capture_output=True, check=False)


def dated(path: Path) -> None:
    os.utime(path, (1_000_000_000, 1_000_000_000))


def moded(path: Path) -> None:
    path.chmod(0o777 if path.stat().st_mode & 0o111 == 0 else 0o600)


def read_only(path: Path) -> None:
    path.chmod(0o444)


def replaced(path: Path) -> None:
    other = path.with_name(path.name + ".other")
    other.write_bytes(b"another file")
    other.rename(path)


HARMS: dict[str, Callable[[Path], None]] = {
    "written through": written_through,
    "grown": grown,
    "emptied": emptied,
    "stripped": stripped,
    "dated long ago": dated,
    "given other modes": moded,
    "made read-only": read_only,
    "deleted": Path.unlink,
    "replaced": replaced,
}
ALIKE = {"grown", "emptied", "replaced", "given other modes"}


@pytest.mark.skipif(shutil.which("strip") is None, reason="needs strip")
@pytest.mark.parametrize("whose", ["the compiler's", "the restored"])
@pytest.mark.parametrize("harm", [pytest.param(name, marks=slow if name in ALIKE else ()) for name in HARMS])
@mostly_daemon
def test_what_a_user_does_to_outputs(box: Sandbox, harm: str, whose: str) -> None:
    """Guards shared inodes: whatever is done to every output of one checkout, the next ones get the right bytes."""
    first, second = box.checkout("a", everything()), box.checkout("the/second", everything())
    first.build()
    second.build().expect(hits=5, misses=0)
    touched, other = (first, second) if whose == "the compiler's" else (second, first)
    for path in outputs_of(touched):
        HARMS[harm](path)
    third = box.checkout("third", everything())
    third.build().expect(hits=None, misses=None)
    third.same_bytes_as_plain()
    assert third.program("app") == "13\n"
    touched.clean().build().expect(hits=5, misses=0)
    touched.same_bytes_as_plain()
    # The other's own files may be names of what was written through; cargo cannot know, a clean build mends it.
    other.clean().build().expect(hits=5, misses=0)
    other.same_bytes_as_plain()
    assert box.data("doctor", exit_code=box.kache("doctor").returncode)["failed"] == 0


def test_outputs_deleted_one_by_one(box: Sandbox) -> None:
    """Guards half a target dir: cargo asks for what is missing, and what comes back fits what stayed."""
    checkout = box.checkout("a", everything())
    checkout.build()
    for path in outputs_of(checkout):
        if path.name.startswith(".") or path.suffix == ".d":
            continue  # cargo's lock, and what cargo does without
        path.unlink()
        checkout.build().expect(hits=None, misses=0)
        assert checkout.program("app") == "13\n"
        checkout.fresh()
    checkout.same_bytes_as_plain()


def test_outputs_replaced_by_links_to_elsewhere(box: Sandbox) -> None:
    """Guards links: an output that is a symlink is replaced by a file, and what it led to stays as it was."""
    checkout = box.checkout("a", everything())
    checkout.build()
    precious = checkout.write("precious", "mine")
    for path in (checkout.target / "debug/deps").iterdir():
        path.unlink()
        path.symlink_to(precious)
    checkout.touch("macros/src/lib.rs")
    checkout.touch("generated/src/lib.rs")
    checkout.build().expect(hits="macros generated both app", misses=0)
    assert precious.read_text() == "mine"
    assert checkout.program("app") == "13\n"


def test_every_file_has_the_mode_that_rustc_gives_it(box: Sandbox) -> None:
    """Guards readers of a target: on a hit files are as readable as after a compile, dep-info included."""
    checkout = box.checkout("a", everything())
    checkout.build()
    modes = {path.name: path.stat().st_mode for path in outputs_of(checkout)}
    checkout.clean().build().expect(misses=0)
    assert {path.name: path.stat().st_mode for path in outputs_of(checkout)} == modes
