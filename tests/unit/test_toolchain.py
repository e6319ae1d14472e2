"""Toolchains: identified by content, remembered by stat, through proxies, and never at the price of a build."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from kache.compilers.rustc.invocation import Refusal
from kache.compilers.rustc.toolchain import Toolchain, Toolchains
from kache.core.outcome import Reason

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fake compilers are shell scripts")

VERBOSE = "rustc 1.95.0 (x)\\nbinary: rustc\\nhost: x86_64-unknown-linux-gnu\\nrelease: 1.95.0-nightly\\n"
ENV: Mapping[bytes, bytes] = {b"PATH": b"/usr/bin:/bin", b"HOME": b"/nowhere"}


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def toolchain_dir(root: Path, *, lib: str = "lib", verbose: str = VERBOSE) -> Path:
    """A toolchain whose rustc notes every start in `runs`."""
    body = f"""root=$(dirname "$(dirname "$(readlink -f "$0")")")
echo run >> "$root/runs"
[ "$1" = --rustc ] && shift
if [ "$1" = -vV ]; then printf '{verbose}'; else echo "$root"; fi"""
    script(root / "bin" / "rustc", body)
    (root / lib).mkdir(parents=True, exist_ok=True)
    (root / lib / "librustc_driver-1.so").write_bytes(b"driver")
    std = root / "lib" / "rustlib" / "x86_64-unknown-linux-gnu" / "lib"
    std.mkdir(parents=True)
    (std / "libstd-1.rlib").write_bytes(b"std")
    return root


def runs(root: Path) -> int:
    return len((root / "runs").read_text().splitlines())


def identify(
    toolchains: Toolchains, compiler: Path | str, env: Mapping[bytes, bytes] = ENV, cwd: str = "/", asker: int = 0
) -> Toolchain:
    found = toolchains.identify(os.fsencode(compiler), env, os.fsencode(cwd), asker)
    assert isinstance(found, Toolchain), found
    return found


def test_facts(tmp_path: Path) -> None:
    root = toolchain_dir(tmp_path / "t")
    found = identify(Toolchains(), root / "bin" / "rustc")
    assert (found.host, found.release) == ("x86_64-unknown-linux-gnu", (1, 95))
    assert found.sysroot == os.fsencode(root)
    assert found.real_rustc == os.fsencode(root / "bin" / "rustc")
    assert found.verbose_version.startswith("rustc 1.95.0")


def test_asked_once_and_the_same_wherever_it_lies(tmp_path: Path) -> None:
    one, other = toolchain_dir(tmp_path / "one"), toolchain_dir(tmp_path / "other")
    toolchains = Toolchains()
    first = identify(toolchains, one / "bin" / "rustc")
    assert identify(toolchains, one / "bin" / "rustc") is first
    assert runs(one) == 1  # for its version: where it lies says its sysroot
    assert identify(toolchains, other / "bin" / "rustc").identity == first.identity


@pytest.mark.parametrize(
    "changed",
    [
        "lib/librustc_driver-1.so",
        "bin/rustc",
        "lib/rustlib/x86_64-unknown-linux-gnu/lib/new.rlib",
        "lib/rustlib/src/rust/library",
    ],
)
def test_other_content_is_another_toolchain_with_the_same_version(tmp_path: Path, changed: str) -> None:
    root = toolchain_dir(tmp_path / "t")
    toolchains = Toolchains()
    first = identify(toolchains, root / "bin" / "rustc")
    path = root / changed
    if path.suffix == "" and path.name == "library":
        path.mkdir(parents=True)
    else:
        old = path.read_bytes() if path.exists() else b""
        path.write_bytes(old + b"\n#x")
    second = identify(toolchains, root / "bin" / "rustc")
    assert second.identity != first.identity
    assert second.verbose_version == first.verbose_version


def test_a_standard_library_written_in_place_is_seen_when_the_next_build_begins(tmp_path: Path) -> None:
    """Guards those who build it: `cp` writes into the file, and its directory's date stays."""
    root = toolchain_dir(tmp_path / "t")
    toolchains = Toolchains()
    first = identify(toolchains, root / "bin" / "rustc", asker=1)
    kept = toolchains.export()
    (root / "lib/rustlib/x86_64-unknown-linux-gnu/lib/libstd-1.rlib").write_bytes(b"dts")
    assert identify(toolchains, root / "bin" / "rustc", asker=2).identity != first.identity
    restarted = Toolchains()
    restarted.restore(kept)
    assert identify(restarted, root / "bin" / "rustc", asker=1).identity != first.identity


def test_one_asker_looks_at_every_file_again_after_a_while(tmp_path: Path) -> None:
    """Guards those who call rustc from one shell all day; and two builds in turn, which look once each."""
    root = toolchain_dir(tmp_path / "t")
    now = [0.0]
    toolchains = Toolchains(lambda: now[0])
    first = identify(toolchains, root / "bin" / "rustc", asker=1)
    for asker in (1, 2, 1):
        assert identify(toolchains, root / "bin" / "rustc", asker=asker) is first
    (root / "lib/rustlib/x86_64-unknown-linux-gnu/lib/libstd-1.rlib").write_bytes(b"dts")
    assert identify(toolchains, root / "bin" / "rustc", asker=1) is first
    now[0] += 60
    assert identify(toolchains, root / "bin" / "rustc", asker=1).identity != first.identity


def test_one_altered_byte_of_the_same_size_and_date_is_seen(tmp_path: Path) -> None:
    root = toolchain_dir(tmp_path / "t")
    toolchains = Toolchains()
    first = identify(toolchains, root / "bin" / "rustc")
    driver = root / "lib" / "librustc_driver-1.so"
    before = driver.stat()
    driver.write_bytes(b"drivel")
    os.utime(driver, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert identify(toolchains, root / "bin" / "rustc").identity != first.identity


def test_a_name_is_found_on_path_and_a_nearer_one_is_noticed(tmp_path: Path) -> None:
    far, near = toolchain_dir(tmp_path / "far"), tmp_path / "near"
    env = {**ENV, b"PATH": os.fsencode(f"{near}:{far}/bin:/usr/bin:/bin")}
    toolchains = Toolchains()
    assert identify(toolchains, "rustc", env).sysroot == os.fsencode(far)
    toolchain_dir(tmp_path / "other")
    near.mkdir()
    (near / "rustc").symlink_to(tmp_path / "other" / "bin" / "rustc")
    assert identify(toolchains, "rustc", env).sysroot == os.fsencode(tmp_path / "other")


def test_a_relative_compiler_starts_from_the_callers_directory(tmp_path: Path) -> None:
    toolchain_dir(tmp_path / "a" / "t")
    toolchain_dir(tmp_path / "b" / "t")
    toolchains = Toolchains()
    for directory in ("a", "b"):
        found = identify(toolchains, "t/bin/rustc", cwd=str(tmp_path / directory))
        assert found.sysroot == os.fsencode(tmp_path / directory / "t")


@pytest.mark.parametrize("lib", ["lib", "lib64", "lib/x86_64-linux-gnu"])
def test_the_driver_is_found_where_the_loader_looks(tmp_path: Path, lib: str) -> None:
    root = toolchain_dir(tmp_path / "t", lib=lib)
    toolchains = Toolchains()
    first = identify(toolchains, root / "bin" / "rustc").identity
    (root / lib / "librustc_driver-1.so").write_bytes(b"another")
    assert identify(toolchains, root / "bin" / "rustc").identity != first


def test_a_driver_on_the_loaders_path_comes_first(tmp_path: Path) -> None:
    root = toolchain_dir(tmp_path / "t")
    rustc = root / "bin" / "rustc"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "librustc_driver-1.so").write_bytes(b"mine")

    def under(library_path: str) -> Mapping[bytes, bytes]:
        return {**ENV, b"LD_LIBRARY_PATH": os.fsencode(library_path)}

    toolchains = Toolchains()
    mine = identify(toolchains, rustc, under(f"{tmp_path}/mine"))
    own = identify(toolchains, rustc)
    assert mine.identity != own.identity
    assert identify(toolchains, rustc, under(f"/usr/lib:{tmp_path}/mine")) == mine
    assert identify(toolchains, rustc, under(f"/usr/lib:{root}/lib:{tmp_path}/mine")) == own


def test_clippy_counts_itself_and_its_rustc(tmp_path: Path) -> None:
    root = toolchain_dir(tmp_path / "t")
    shutil.copy(root / "bin" / "rustc", root / "bin" / "clippy-driver")
    toolchains = Toolchains()
    clippy, rustc = (identify(toolchains, root / "bin" / name) for name in ("clippy-driver", "rustc"))
    assert clippy.identity != rustc.identity
    assert clippy.real_rustc == rustc.real_rustc
    with (root / "bin" / "clippy-driver").open("a") as file:
        file.write("#x\n")
    assert identify(toolchains, root / "bin" / "clippy-driver").identity != clippy.identity


def rustup(tmp_path: Path, how: str) -> Path:
    """A proxy that takes the toolchain RUSTUP_TOOLCHAIN or a file `rust-toolchain` names."""
    home = tmp_path / "cargo" / "bin"
    script(
        home / "rustup",
        f'echo x >>{tmp_path}/asked; exec {tmp_path}/${{RUSTUP_TOOLCHAIN:-$(cat rust-toolchain)}}/bin/rustc "$@"',
    )
    if how == "symlink":
        (home / "rustc").symlink_to("rustup")
    elif how == "hardlink":
        (home / "rustc").hardlink_to(home / "rustup")
    else:
        shutil.copy(home / "rustup", home / "rustc")
    return home / "rustc"


@pytest.mark.parametrize("how", ["symlink", "hardlink", "copy"])
def test_rustups_proxy_leads_to_the_toolchain_of_the_call(tmp_path: Path, how: str) -> None:
    proxy = rustup(tmp_path, how)
    one, two = toolchain_dir(tmp_path / "one"), toolchain_dir(tmp_path / "two")
    toolchains = Toolchains()
    for root in (one, two):
        env = {**ENV, b"RUSTUP_TOOLCHAIN": os.fsencode(root.name)}
        found = identify(toolchains, proxy, env)
        assert found.real_rustc == os.fsencode(root / "bin" / "rustc")
        before = runs(root)
        assert identify(toolchains, proxy, env) is found
        assert runs(root) == before


def test_the_directory_does_not_matter_where_rustup_named_the_toolchain(tmp_path: Path) -> None:
    """Guards fresh checkouts: asking rustup takes longer than all of a hit."""
    proxy = rustup(tmp_path, "symlink")
    root = toolchain_dir(tmp_path / "one")
    toolchains = Toolchains()
    env = {**ENV, b"RUSTUP_TOOLCHAIN": b"one"}
    found = identify(toolchains, proxy, env)
    before = (tmp_path / "asked").read_text()
    for number in range(3):
        (tmp_path / str(number)).mkdir()
        assert identify(toolchains, proxy, env, cwd=str(tmp_path / str(number))) is found
    assert (tmp_path / "asked").read_text() == before
    assert found.sysroot == os.fsencode(root)


def test_a_compiler_that_becomes_a_proxy_is_noticed(tmp_path: Path) -> None:
    proxy = rustup(tmp_path, "copy")
    one, two = toolchain_dir(tmp_path / "one"), toolchain_dir(tmp_path / "two")
    proxy.unlink()
    proxy.symlink_to(one / "bin" / "rustc")
    toolchains = Toolchains()
    env = {**ENV, b"RUSTUP_TOOLCHAIN": b"two"}
    assert identify(toolchains, proxy, env).sysroot == os.fsencode(one)
    proxy.unlink()
    proxy.symlink_to("rustup")
    assert identify(toolchains, proxy, env).sysroot == os.fsencode(two)
    assert identify(toolchains, proxy, {**ENV, b"RUSTUP_TOOLCHAIN": b"one"}).sysroot == os.fsencode(one)


def test_the_directory_does_not_matter_to_a_real_compiler(tmp_path: Path) -> None:
    root = toolchain_dir(tmp_path / "t")
    toolchains = Toolchains()
    found = identify(toolchains, root / "bin" / "rustc")
    assert all(identify(toolchains, root / "bin" / "rustc", cwd=f"/{number}") is found for number in range(5))


def test_a_changed_toolchain_file_above_is_noticed(tmp_path: Path) -> None:
    proxy = rustup(tmp_path, "symlink")
    for name in ("one", "two"):
        toolchain_dir(tmp_path / name)
    work = tmp_path / "work"
    work.mkdir()
    (work / "rust-toolchain").write_text("one")
    toolchains = Toolchains()
    assert identify(toolchains, proxy, cwd=str(work)).sysroot.endswith(b"/one")
    (work / "rust-toolchain").write_text("two")
    assert identify(toolchains, proxy, cwd=str(work)).sysroot.endswith(b"/two")


def test_what_is_known_survives_a_restart_and_is_checked(tmp_path: Path) -> None:
    root = toolchain_dir(tmp_path / "t")
    before = Toolchains()
    first = identify(before, root / "bin" / "rustc")
    after = Toolchains()
    assert after.restore(before.export()) == 1
    assert identify(after, root / "bin" / "rustc") == first
    assert runs(root) == 1
    (root / "lib" / "librustc_driver-1.so").write_bytes(b"changed")
    late = Toolchains()
    late.restore(before.export())
    assert identify(late, root / "bin" / "rustc").identity != first.identity


@pytest.mark.parametrize("blob", [b"", b"nonsense", b"\x91\x01", b"\xc0"])
def test_a_blob_that_is_not_ours_is_ignored(blob: bytes) -> None:
    assert Toolchains().restore(blob) == 0


@pytest.mark.parametrize(
    "body", ["exit 1", "echo hello", "kill -9 $$", "printf 'rustc 1\\n'", 'printf "\\377"', f"printf '{VERBOSE}'"]
)
def test_a_compiler_that_does_not_answer_is_a_reason(tmp_path: Path, body: str) -> None:
    script(tmp_path / "rustc", body)
    found = Toolchains().identify(os.fsencode(tmp_path / "rustc"), ENV, b"/")
    assert isinstance(found, Refusal)
    assert found.reason is Reason.TOOLCHAIN


def test_a_failure_is_remembered_for_a_while(tmp_path: Path) -> None:
    now = 0.0
    toolchains = Toolchains(clock=lambda: now)
    script(tmp_path / "rustc", f"echo run >> {tmp_path}/runs; exit 1")
    path = os.fsencode(tmp_path / "rustc")
    for _ in range(3):
        assert isinstance(toolchains.identify(path, ENV, b"/"), Refusal)
    assert runs(tmp_path) == 1
    now = 31.0
    toolchains.identify(path, ENV, b"/")
    assert runs(tmp_path) == 2
    with (tmp_path / "rustc").open("a") as file:
        file.write("#x\n")
    toolchains.identify(path, ENV, b"/")
    assert runs(tmp_path) == 3


@pytest.mark.parametrize("compiler", [b"cc", b"/usr/bin/gcc", b"sccache", b"", b"/x/"])
def test_what_is_not_called_rustc_is_never_run(compiler: bytes) -> None:
    found = Toolchains().identify(compiler, ENV, b"/")
    assert isinstance(found, Refusal)
    assert found.reason is Reason.NOT_RUSTC


@pytest.mark.parametrize("compiler", [b"rustc", b"/nowhere/rustc", b"rus\xfftc/rustc"])
def test_a_missing_compiler_is_a_reason(compiler: bytes) -> None:
    found = Toolchains().identify(compiler, {b"PATH": b"/nowhere"}, b"/")
    assert isinstance(found, Refusal)
    assert found.reason is Reason.TOOLCHAIN


@pytest.mark.skipif(shutil.which("rustc") is None, reason="needs rustc")
def test_the_machines_own(tmp_path: Path) -> None:
    toolchains = Toolchains()
    found = identify(toolchains, "rustc", os.environb, str(tmp_path))
    said = subprocess.run(["rustc", "-vV"], capture_output=True, check=True, text=True, cwd=tmp_path).stdout
    assert found.verbose_version == said
    real = identify(toolchains, os.fsdecode(found.real_rustc), os.environb, str(tmp_path))
    assert real.identity == found.identity
