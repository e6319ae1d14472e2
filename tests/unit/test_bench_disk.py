"""Disk figures count allocated blocks, each inode once, and leave out what cannot be shared."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.disk import allocated_bytes, file_kind, own_cost

SIZE = 64 * 1024


def write(path: Path, mode: int = 0o644) -> Path:
    """Write a file whose blocks are allocated for certain."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(os.urandom(SIZE))
        file.flush()
        os.fsync(file.fileno())
    path.chmod(mode)
    return path


def link(source: Path, to: Path) -> Path:
    """Give a file a second name."""
    to.parent.mkdir(parents=True, exist_ok=True)
    to.hardlink_to(source)
    return to


def test_a_second_checkout_costs_only_what_it_does_not_share(tmp_path: Path) -> None:
    store, first, second = tmp_path / "store", tmp_path / "first", tmp_path / "second"
    blob = write(store / "ab" / "blob")
    for target in (first, second):
        link(blob, target / "debug" / "deps" / "liba-1.rlib")
        write(target / "debug" / "deps" / "liba-1.rmeta")
        write(target / "debug" / "deps" / "app-1", 0o755)
        link(target / "debug" / "deps" / "app-1", target / "debug" / "app")
        write(target / "debug" / ".fingerprint" / "a-1" / "dep-lib-a")
    unshared = write(second / "debug" / "deps" / "libb-1.rlib")

    cost = own_cost(second, [store, first])

    assert cost["shared"] == pytest.approx(unshared.stat().st_blocks * 512)
    assert cost["executable"] == cost["rmeta"] == cost["cargo"] >= SIZE
    assert own_cost(first, [])["shared"] >= SIZE, (
        "a first target's own figure does not leave out what the store holds too"
    )
    one_file = blob.stat().st_blocks * 512
    assert allocated_bytes([store, first, second]) == pytest.approx(8 * one_file, rel=0.1)


def test_a_sparse_file_costs_what_is_allocated(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10 * 1024 * 1024)
    assert allocated_bytes([tmp_path]) < 64 * 1024


@pytest.mark.parametrize(
    ("path", "mode", "kind"),
    [
        ("debug/deps/libserde-1.rlib", 0o644, "shared"),
        ("debug/deps/libserde-1.rmeta", 0o644, "rmeta"),
        ("debug/deps/libderive-1.so", 0o755, "executable"),
        ("debug/deps/serde-1.d", 0o644, "cargo"),
        ("debug/.fingerprint/serde-1/lib-serde", 0o644, "cargo"),
        ("debug/build/libc-1/out/generated.rs", 0o644, "cargo"),
        ("debug/build/libc-1/output", 0o644, "cargo"),
        ("debug/build/libc-1/build-script-build", 0o755, "executable"),
        (".rustc_info.json", 0o644, "cargo"),
        ("CACHEDIR.TAG", 0o644, "cargo"),
    ],
)
def test_kinds_of_files(path: str, mode: int, kind: str) -> None:
    assert file_kind(Path(path), mode) == kind
