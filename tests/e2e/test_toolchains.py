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
from tests.support.projects import alone, chain, everything, lib, manifest, warns
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


def linked_or_copied(source: str, target: str) -> None:
    """A hardlink where that can be; nothing here writes into one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def own_copy(box: Sandbox) -> Path:
    """The toolchain once more, below the box."""
    copy = box.root / "toolchain"
    shutil.copytree(box.sysroot / "lib", copy / "lib", symlinks=True, copy_function=linked_or_copied)
    (copy / "bin").mkdir()
    shutil.copy2(box.sysroot / "bin/rustc", copy / "bin/rustc")
    return copy


def altered(path: Path) -> None:
    """Give a shared library one other byte, in the section that names the compiler it was made with."""
    content = bytearray(path.read_bytes())
    at = content.rfind(b"GCC: (")
    assert at > 0 or content.rfind(b"clang version") > 0
    content[at if at > 0 else content.rfind(b"clang version")] ^= 0x20
    path.unlink()
    path.write_bytes(content)
    path.chmod(0o755)


def builds(checkout: Checkout, env: dict[str, str], **expected: int) -> None:
    """Build anew and compare."""
    checkout.clean().build(env=env).expect(**expected)


@pytest.mark.parametrize("what", ["librustc_driver", "libLLVM"])
@mostly_daemon
def test_a_compiler_rebuilt_with_the_same_version_text(box: Sandbox, what: str) -> None:
    """Guards `x.py build`: one byte of the compiler makes another compiler, whatever `rustc -vV` says."""
    copy = own_copy(box)
    moved = {"PATH": f"{copy / 'bin'}{os.pathsep}{box.env()['PATH']}"}
    checkout = box.checkout("a", lib())
    builds(checkout, {}, misses=1)
    builds(checkout, moved, hits=1, misses=0)
    found = [path for path in (copy / "lib").glob(f"{what}*.so*") if not path.is_symlink()]
    if not found:
        pytest.skip(f"this toolchain has no {what} of its own")
    altered(max(found, key=lambda path: path.stat().st_size))
    assert _version(box.sysroot) == _version(copy)
    builds(checkout, moved, misses=1, hits=0)
    builds(checkout, moved, hits=1, misses=0)
    builds(checkout, {}, hits=1, misses=0)


@mostly_daemon
def test_a_standard_library_rebuilt_with_the_same_version_text(box: Sandbox) -> None:
    """Guards a patched `core`: one letter in the middle of a library is in every program linked against it."""
    copy = own_copy(box)
    moved = {"PATH": f"{copy / 'bin'}{os.pathsep}{box.env()['PATH']}"}
    main = "fn main() { let n: Option<u32> = std::env::args().nth(9).map(|_| 1); n.unwrap(); }\n"
    checkout = box.checkout("a", alone({"Cargo.toml": manifest("app"), "src/main.rs": main}))
    builds(checkout, moved, misses=1)
    core = next((copy / "lib/rustlib").glob("*/lib/libcore-*.rlib"))
    content = core.read_bytes()
    assert b"on a `None` value" in content
    core.unlink()
    core.write_bytes(content.replace(b"on a `None` value", b"on a `Nope` value"))
    builds(checkout, moved, misses=1, hits=0)
    assert "`Nope`" in panic_of(checkout)
    builds(checkout, {}, hits=1, misses=0)
    assert "`None`" in panic_of(checkout)


def panic_of(checkout: Checkout) -> str:
    """What the program says when it panics."""
    return subprocess.run([checkout.target / "debug/app"], capture_output=True, text=True, check=False).stderr


def test_a_toolchain_reached_by_several_names(box: Sandbox) -> None:
    """Guards proxies and links: RUSTC, PATH and a symlink lead to one compiler, which has one identity."""
    link = box.root / "linked"
    link.symlink_to(box.sysroot)
    box.checkout("a", chain()).build().expect(misses=3)
    for number, env in enumerate(({"RUSTC": str(toolchain_bin() / "rustc")}, {"RUSTC": str(link / "bin/rustc")})):
        box.checkout(f"c{number}", chain()).build(env=env).expect(hits=3, misses=0)
