"""Two toolchains on one machine: each has its own entries, also where only their contents tell them apart."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon
from tests.support.projects import LEAF, alone, chain, everything, manifest, warns
from tests.support.sandbox import Sandbox, toolchain_bin

DEBIAN = Path("/opt/kache-tests/debian-rust/usr")
"""Where tools/debian_toolchain.sh unpacks it."""


def debian(box: Sandbox) -> dict[str, str]:
    """The environment of a build with the distribution's own rustc and cargo."""
    if not (DEBIAN / "bin/rustc").is_file():
        pytest.skip(f"needs Debian's rustc in {DEBIAN}: tools/debian_toolchain.sh")
    libraries = next(path for path in (DEBIAN / "lib").iterdir() if path.name.endswith("linux-gnu"))
    return {"PATH": f"{DEBIAN / 'bin'}{os.pathsep}{box.env()['PATH']}", "LD_LIBRARY_PATH": str(libraries)}


def another_of_rustups(box: Sandbox) -> dict[str, str]:
    """The environment of a build with another toolchain that is installed."""
    own = toolchain_bin().parent
    if own.parent.name != "toolchains":
        pytest.skip("the toolchain is none of rustup's")
    ours = _version(own)
    for other in sorted(own.parent.iterdir()):
        if (other / "bin/cargo").is_file() and _version(other) not in ("", ours):
            return {"PATH": f"{other / 'bin'}{os.pathsep}{box.env()['PATH']}"}
    pytest.skip("needs a second toolchain of rustup's")


def _version(toolchain: Path) -> str:
    done = subprocess.run([toolchain / "bin/rustc", "-vV"], capture_output=True, text=True, check=False)
    return done.stdout


OTHERS: dict[str, Callable[[Sandbox], dict[str, str]]] = {"debian": debian, "rustup": another_of_rustups}


@pytest.mark.parametrize("other", OTHERS)
def test_two_toolchains_in_turn(box: Sandbox, other: str) -> None:
    """Guards a distribution's rustc beside rustup's: neither is served what the other made, both are cached."""
    second = OTHERS[other](box)
    checkout = box.checkout("a", everything())
    # The older one first: the lock file it writes suits both.
    for env in (second, {}):
        checkout.build(env=env).expect(hits=0, misses=5)
        assert checkout.program("app") == "13\n"
    elsewhere = box.checkout("the/second/one", everything())
    for env in (second, {}, second):
        elsewhere.clean().build(env=env).expect(hits=5, misses=0)
        assert elsewhere.program("app") == "13\n"
        built = elsewhere.build("-v", env=env)
        assert not built.calls.all and "Compiling" not in built.stderr
        elsewhere.same_bytes_as_plain(env=env)


@pytest.mark.parametrize("other", OTHERS)
@mostly_daemon
def test_each_toolchain_warns_in_its_own_words(box: Sandbox, other: str) -> None:
    """Guards messages: what an old rustc says and what a new one says are replayed to their own users."""
    second = OTHERS[other](box)
    first_said = ""
    for env in (second, {}):
        checkout = box.checkout("a", warns())
        for _ in range(2):
            built = checkout.clean().build("--message-format=json", env=env)
            assert built.json == checkout.plain("build", "--message-format=json", env=env).json
        built.expect(hits=2, misses=0)
        assert built.stdout != first_said
        first_said = built.stdout


def altered(path: Path) -> None:
    """Give a program or library one other byte, where it names the compiler it was made with."""
    content = path.read_bytes()
    at = max(content.rfind(b"GCC: ("), content.rfind(b"clang version"), content.rfind(b"rustc version"))
    assert at > 0
    replaced(path, content[:at] + bytes([content[at] ^ 0x20]) + content[at + 1 :])


def replaced(path: Path, content: bytes) -> None:
    """Put a new file in place of one, as an installer does."""
    mode = path.stat().st_mode
    path.unlink()
    path.write_bytes(content)
    path.chmod(mode)


def panic_of(checkout: Checkout) -> str:
    """What the program says when it panics."""
    return subprocess.run([checkout.target / "debug/app"], capture_output=True, text=True, check=False).stderr


@mostly_daemon
def test_a_toolchain_rebuilt_with_the_same_version_text(box: Sandbox) -> None:
    """Guards `x.py build`: one byte of compiler or standard library makes another toolchain, wherever it lies."""
    copy = box.root / "toolchain"
    shutil.copytree(box.sysroot / "lib", copy / "lib", symlinks=True)
    (copy / "bin").mkdir()
    shutil.copy2(box.sysroot / "bin/rustc", copy / "bin/rustc")
    moved = {"PATH": f"{copy / 'bin'}{os.pathsep}{box.env()['PATH']}"}
    main = "fn main() { let n: Option<u32> = std::env::args().nth(9).map(|_| 1); n.unwrap(); }\n"
    checkout = box.checkout("a", alone({"Cargo.toml": manifest("app"), "src/main.rs": main}))

    def builds(env: dict[str, str], **expected: int) -> None:
        checkout.clean().build(env=env).expect(**expected)

    builds({}, misses=1)
    builds(moved, hits=1, misses=0)
    for name in ("bin/rustc", "lib/librustc_driver*", "lib/libLLVM*"):
        found = [path for path in copy.glob(name) if not path.is_symlink()]
        if found:
            altered(max(found, key=lambda path: path.stat().st_size))
            assert _version(box.sysroot) == _version(copy)
            builds(moved, misses=1, hits=0)
            builds(moved, hits=1, misses=0)
    core = next((copy / "lib/rustlib").glob("*/lib/libcore-*.rlib"))
    content = core.read_bytes()
    assert b"on a `None` value" in content
    replaced(core, content.replace(b"on a `None` value", b"on a `Nope` value"))
    builds(moved, misses=1, hits=0)
    assert "`Nope`" in panic_of(checkout)
    builds({}, hits=1, misses=0)
    assert "`None`" in panic_of(checkout)


@mostly_daemon
def test_outputs_that_name_the_standard_librarys_sources_stay_with_their_toolchain(box: Sandbox) -> None:
    """Guards the rust-src component: with it debug info and panics name a place below the sysroot."""

    def installed(name: str) -> dict[str, str]:
        root = box.root / name
        shutil.copytree(box.sysroot / "lib", root / "lib", symlinks=True, copy_function=linked)
        shutil.copytree(box.sysroot / "bin", root / "bin", symlinks=True, copy_function=linked)
        sources = root / "lib/rustlib/src/rust/library/std/src"
        sources.mkdir(parents=True, exist_ok=True)
        (sources / "lib.rs").write_text("")  # what rustc looks for
        return {"PATH": f"{root / 'bin'}{os.pathsep}{box.env()['PATH']}"}

    files = chain()
    files["leaf/src/lib.rs"] = LEAF + "pub fn sorted(mut some: Vec<u64>) -> Vec<u64> { some.sort(); some }\n"
    first, second = installed("one"), installed("two")
    here, there = box.checkout("here", files), box.checkout("there", files)
    here.build(env=first).expect(hits=0, misses=3)
    there.build(env=first).expect(hits=3, misses=0)
    there.same_bytes_as_plain(env=first)
    # `mid` has nothing of the standard library's in it.
    there.clean().build(env=second).expect(hits=1, misses=2)
    there.same_bytes_as_plain(env=second)


def linked(source: str, target: str) -> None:
    """Copy a file as a link where that can be."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def test_a_toolchain_reached_by_several_names(box: Sandbox) -> None:
    """Guards proxies and links: RUSTC, PATH and a symlink lead to one compiler, which has one identity."""
    link = box.root / "linked"
    link.symlink_to(box.sysroot)
    box.checkout("a", chain()).build().expect(misses=3)
    for number, env in enumerate(({"RUSTC": str(toolchain_bin() / "rustc")}, {"RUSTC": str(link / "bin/rustc")})):
        box.checkout(f"c{number}", chain()).build(env=env).expect(hits=3, misses=0)


@pytest.mark.warm_too
@mostly_daemon
def test_a_script_before_the_compiler_counts_with_the_variables_it_names(box: Sandbox) -> None:
    """Guards shims that add flags of a variable: cargo has no hash of it, and rustc is handed what nobody sees."""
    shim = box.root / "shim" / "rustc"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec {toolchain_bin() / "rustc"} "$@" ${{EXTRA}}\n')
    shim.chmod(0o755)
    source = 'fn main() { println!("{}", cfg!(extra)); }\n'
    lints = '[lints.rust]\nunexpected_cfgs = "allow"\n'
    for number, extra in enumerate(("", "--cfg extra", "")):
        checkout = box.checkout(
            f"c{number}", alone({"Cargo.toml": manifest("prog", extra=lints), "src/main.rs": source})
        )
        checkout.build(env={"RUSTC": str(shim), "EXTRA": extra}).expect(misses=None if number == 2 else 1)
        assert checkout.program("prog") == f"{str(bool(extra)).lower()}\n"
