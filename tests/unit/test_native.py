"""Native inputs: what a link reads that rustc does not report."""

from __future__ import annotations

import os
from pathlib import Path

from kache.compilers.rustc.clippy import configuration
from kache.compilers.rustc.invocation import Refusal
from kache.compilers.rustc.native import NativeInputs, NativeResolver, target_specifications
from kache.core.outcome import Reason
from tests.support.calls import invocation

ENV = {b"PATH": os.environ["PATH"].encode()}


def resolve(*more: bytes, cwd: Path, crate_type: bytes = b"bin") -> NativeInputs | Refusal:
    call = invocation(*more, crate_type=crate_type, cwd=bytes(cwd))
    return NativeResolver().resolve(call, ENV, bytes(cwd))


def found(*more: bytes, cwd: Path, crate_type: bytes = b"bin") -> NativeInputs:
    inputs = resolve(*more, cwd=cwd, crate_type=crate_type)
    assert isinstance(inputs, NativeInputs)
    return inputs


def test_a_link_reads_the_linker_and_the_c_runtime(tmp_path: Path) -> None:
    names = {os.path.basename(path) for path in found(cwd=tmp_path).files}
    assert b"cc" in names and names & {b"Scrt1.o", b"crt1.o"} and names & {b"libc.so.6", b"libc.so"}


def test_a_library_links_nothing(tmp_path: Path) -> None:
    assert found(cwd=tmp_path, crate_type=b"lib").files == []


def test_archives_in_search_directories_count_by_content(tmp_path: Path) -> None:
    (tmp_path / "native").mkdir()
    (tmp_path / "native" / "libx.a").touch()
    (tmp_path / "native" / "readme").touch()
    inputs = found(b"-Lnative=native", b"-lstatic=x", cwd=tmp_path, crate_type=b"lib")
    assert inputs.files == [bytes(tmp_path / "native" / "libx.a")]
    assert inputs.directories == [bytes(tmp_path / "native")]


def test_files_named_for_the_linker_count_and_scripts_that_name_more_are_noted(tmp_path: Path) -> None:
    (tmp_path / "exports.map").write_text("{ global: a; local: *; };")
    (tmp_path / "memory.ld").write_text("INCLUDE other.ld")
    assert bytes(tmp_path / "exports.map") in found(b"-Clink-arg=-Wl,--version-script=exports.map", cwd=tmp_path).files
    assert "memory.ld" in found(b"-Clink-arg=-Tmemory.ld", cwd=tmp_path).unfollowed
    assert "@args" in found(b"-Clink-arg=@args", cwd=tmp_path).unfollowed


def test_a_linker_that_is_not_there_is_refused(tmp_path: Path) -> None:
    for flag in (b"-Clinker=no-such-cc", b"-Clink-arg=-fuse-ld=nosuch"):
        refused = resolve(flag, cwd=tmp_path)
        assert isinstance(refused, Refusal) and refused.reason is Reason.NATIVE_INPUT


def test_a_target_may_be_defined_by_a_file_found_on_a_path(tmp_path: Path) -> None:
    (tmp_path / "board.json").write_text("{}")
    call = invocation(b"--target=board")
    assert target_specifications(call, {b"RUST_TARGET_PATH": bytes(tmp_path)}) == [bytes(tmp_path / "board.json")]
    assert target_specifications(call, {}) == []


def test_clippy_takes_the_nearest_configuration(tmp_path: Path) -> None:
    member = tmp_path / "member"
    member.mkdir()
    (tmp_path / "clippy.toml").touch()
    present, absent = configuration({b"CARGO_MANIFEST_DIR": bytes(member)}, bytes(tmp_path))
    assert present == [bytes(tmp_path / "clippy.toml")]
    assert bytes(member / "clippy.toml") in absent and bytes(tmp_path / "Cargo.lock") in absent
