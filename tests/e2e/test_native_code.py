"""Native code: archives however deep, libraries however named, linkers however chosen; and what a library exports."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon, slow
from tests.support.projects import Files, alone, below, chain, manifest, workspace
from tests.support.sandbox import Sandbox
from tests.support.states import State, prints, told_apart

pytestmark = pytest.mark.skipif(shutil.which("ar") is None or shutil.which("cc") is None, reason="needs cc and ar")

NO_WRAPPER = {"RUSTC_WRAPPER": ""}
# As the crate cc does it, without the crate: compile what lies in native/, archive it, tell cargo.
SCRIPT = """use std::process::Command;
fn main() {{
    let out = std::env::var("OUT_DIR").unwrap();
    println!("cargo:rerun-if-changed=native");
    let (object, archive) = (format!("{{out}}/value.o"), format!("{{out}}/libvalue.{suffix}"));
    assert!(Command::new("cc").args(["-fPIC", "-c", "native/value.c", "-o", &object]).status().unwrap().success());
    assert!({make}.status().unwrap().success());
    println!("cargo:rustc-link-lib={kind}=value");
    println!("cargo:rustc-link-search=native={{out}}");
}}
"""
ARCHIVE = 'Command::new("ar").args(["crsD", &archive, &object])'
SHARED = 'Command::new("cc").args(["-shared", "-o", &archive, &object])'
STATIC_SCRIPT = SCRIPT.format(suffix="a", kind="static", make=ARCHIVE)
WHOLE_SCRIPT = SCRIPT.format(suffix="a", kind="static:+whole-archive", make=ARCHIVE)
SHARED_SCRIPT = SCRIPT.format(suffix="so", kind="dylib", make=SHARED)
USES = 'extern "C" { fn value() -> i32; }\npub fn safe() -> i32 { unsafe { value() } }\n'


def native(script: str, levels: int, number: int, *, header: bool = False) -> Files:
    """A program `app`, so many crates above one whose build script compiles C."""
    source = f"int value(void) {{ return {number}; }}\n"
    files = {"native/value.c": '#include "value.h"\nint value(void) { return VALUE; }\n' if header else source}
    if header:
        files["native/value.h"] = f"#define VALUE {number}\n"
    lowest = {"Cargo.toml": manifest("native", build='"build.rs"'), "build.rs": script, "src/lib.rs": USES, **files}
    made = below("native", lowest)
    names = ["native"]
    for level in range(1, levels):
        name = f"level{level}"
        crate = {
            "Cargo.toml": manifest(name, deps={names[-1]: f"../{names[-1]}"}),
            "src/lib.rs": f"pub fn safe() -> i32 {{ {names[-1]}::safe() }}\n",
        }
        made |= below(name, crate)
        names.append(name)
    app = {
        "Cargo.toml": manifest("app", deps={names[-1]: f"../{names[-1]}"}),
        "src/main.rs": f'fn main() {{ println!("{{}}", {names[-1]}::safe()); }}\n',
    }
    return {**workspace("app", *names), **made, **below("app", app)}


DEPTHS = {
    "one crate below": (STATIC_SCRIPT, 1, False),
    "two crates below": (STATIC_SCRIPT, 2, False),
    "three crates below": (STATIC_SCRIPT, 3, False),
    "a header": (STATIC_SCRIPT, 2, True),
    "the whole archive": (WHOLE_SCRIPT, 2, False),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=slow if n[:5] in ("three", "the w") else ()) for n in DEPTHS])
@mostly_daemon
def test_c_below_a_program(box: Sandbox, name: str) -> None:
    """Guards archives bundled into rlibs: none of the crates between shows the change, the program has it."""
    script, levels, header = DEPTHS[name]
    states = [State(native(script, levels, number, header=header)) for number in (7, 8)]
    first, second = told_apart(box, *states, misses=None)
    assert (prints(first, "app"), prints(second, "app")) == ("7\n", "8\n")


@mostly_daemon
def test_a_shared_library_two_crates_below(box: Sandbox) -> None:
    """Guards dylibs of C: they are read by the link, though what they do is decided when the program runs."""
    files = native(SHARED_SCRIPT, 2, 7)
    box.checkout("a", files).build()
    second = box.checkout("second", native(SHARED_SCRIPT, 2, 8))
    second.build()
    assert second.run("-p", "app") == "8\n"
    third = box.checkout("third", files)
    third.build()
    assert third.run("-p", "app") == "7\n"


def exporting(more: str) -> Files:
    """A cdylib `face` over a library whose functions it exports."""
    return {
        **workspace("face", "inner"),
        **below(
            "inner",
            {
                "Cargo.toml": manifest("inner"),
                "src/lib.rs": f'#[no_mangle]\npub extern "C" fn first() -> u32 {{ 1 }}\n{more}',
            },
        ),
        **below(
            "face",
            {
                "Cargo.toml": manifest("face", deps={"inner": "../inner"}, extra='[lib]\ncrate-type = ["cdylib"]'),
                "src/lib.rs": "pub use inner::*;\n",
            },
        ),
    }


@mostly_daemon
def test_what_a_shared_library_exports(box: Sandbox) -> None:
    """Guards cdylib exports: a function without a user, added a crate below, is a symbol of the library."""
    more = '#[no_mangle]\npub extern "C" fn second() -> u32 { 2 }\n'
    first, second = told_apart(box, State(exporting("")), State(exporting(more)), misses="inner face")
    for checkout, has_second in ((first, False), (second, True)):
        symbols = subprocess.run(
            ["nm", "-D", checkout.target / "debug/libface.so"], capture_output=True, text=True, check=True
        ).stdout
        assert " T first" in symbols and (" T second" in symbols) is has_second


# ---- linkers


def linkers() -> list[Any]:
    """The linkers a compiler driver may be told to use, each skipped where it is missing."""
    found: list[Any] = []
    for name in ("bfd", "gold", "mold", "lld"):
        missing = shutil.which(f"ld.{name}") is None
        mark = [pytest.mark.skipif(missing, reason=f"needs ld.{name}"), *([slow] if name == "bfd" else [])]
        found.append(pytest.param(name, marks=mark))
    return found


def own_linker(name: str) -> dict[str, str]:
    """Flags that take the toolchain's own linker away and name another."""
    flags = f"-Clinker-features=-lld -Zunstable-options -Clink-arg=-fuse-ld={name}"
    return {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": flags}


@pytest.mark.parametrize("name", linkers())
@mostly_daemon
def test_another_linker(box: Sandbox, name: str) -> None:
    """Guards -fuse-ld: another linker is another program, and cached like any."""
    _, second = told_apart(box, State(chain()), State(chain(), own_linker(name)), misses=None)
    assert second.program("app") == "42\n"


@pytest.mark.parametrize("name", linkers())
@mostly_daemon
def test_a_linker_that_writes_into_the_file_it_finds(box: Sandbox, name: str) -> None:
    """Guards mold, which overwrites in place: plain relinks over restored programs never reach the store."""
    env = own_linker(name)
    first, second = box.checkout("a", chain()), box.checkout("second", chain())
    first.build(env=env)
    second.build(env=env).expect(hits=3, misses=0)
    second.edit("leaf/src/lib.rs", "21", "50")
    second.build(env=env | NO_WRAPPER)
    second.edit("leaf/src/lib.rs", "50", "60")
    second.build(env=env).expect(misses="leaf mid app", hits=0)
    assert (first.program("app"), second.program("app")) == ("42\n", "120\n")
    third = box.checkout("third", chain())
    third.build(env=env).expect(hits=3, misses=0)
    assert third.program("app") == "42\n"


def wrapping_linker(box: Sandbox, path: Path, extra: str) -> None:
    """A compiler driver that is a script around cc."""
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(f'#!/bin/sh\nexec {shutil.which("cc")} "$@" {extra}\n')
    path.chmod(0o755)


@pytest.mark.parametrize("how", ["by path", "by name", "a cc before the other"])
@mostly_daemon
def test_a_linker_replaced(box: Sandbox, how: str) -> None:
    """Guards the linker itself: another program under the old name links anew, wherever it is found."""
    tools = box.root / "tools"
    place = tools / ("cc" if how == "a cc before the other" else "mylinker")
    env = {"PATH": f"{tools}{os.pathsep}{box.env()['PATH']}"}
    if how != "a cc before the other":
        env["RUSTFLAGS"] = f"-Clinker={place if how == 'by path' else 'mylinker'}"
    ids = ("0x1111", "0x2222", "0x1111")
    outcomes = []
    for number, build_id in enumerate(ids):
        wrapping_linker(box, place, f"-Wl,--build-id={build_id}")
        checkout = box.checkout(f"c{number}", chain())
        outcomes.append("app" in [call.crate for call in checkout.build(env=env).calls.misses])
        assert bytes.fromhex(build_id[2:]) in build_id_of(checkout)
        checkout.same_bytes_as_plain(env=env)
    assert outcomes == [True, True, False]


def build_id_of(checkout: Checkout) -> bytes:
    """The note in the program; found without a parser, since the id is all that differs."""
    return (checkout.target / "debug/app").read_bytes()


def test_a_linker_that_newly_comes_first(box: Sandbox) -> None:
    """Guards PATH: a `cc` put in front of the one that linked before is the one that links now."""
    tools = box.root / "tools"
    tools.mkdir()
    env = {"PATH": f"{tools}{os.pathsep}{box.env()['PATH']}"}
    first = box.checkout("a", chain())
    first.build(env=env)
    first.clean().build(env=env).expect(hits=3, misses=0)
    wrapping_linker(box, tools / "cc", "-Wl,--build-id=0x77777777")
    first.clean().build(env=env).expect(hits="leaf mid", misses="app")
    assert bytes.fromhex("77777777") in build_id_of(first)
    first.same_bytes_as_plain(env=env)
    (tools / "cc").unlink()
    first.clean().build(env=env).expect(hits=3, misses=0)
    assert bytes.fromhex("77777777") not in build_id_of(first)


# ---- libraries found by name


def finds(flags: str) -> tuple[Files, dict[str, str]]:
    """A program that calls a function of a library beside the checkout."""
    text = 'extern "C" { fn value() -> i32; }\nfn main() { println!("{}", unsafe { value() }); }\n'
    return alone({"Cargo.toml": manifest("app"), "src/main.rs": text}), {"RUSTFLAGS": flags}


def archive(directory: Path, number: int) -> None:
    """Write libvalue.a."""
    directory.mkdir(exist_ok=True)
    (directory / "value.c").write_text(f"int value(void) {{ return {number}; }}\n")
    subprocess.run(["cc", "-c", "value.c", "-o", "value.o"], cwd=directory, check=True)
    (directory / "libvalue.a").unlink(missing_ok=True)
    subprocess.run(["ar", "crsD", "libvalue.a", "value.o"], cwd=directory, check=True)


def test_a_library_that_comes_first_on_the_search_path(box: Sandbox) -> None:
    """Guards the order of -L: a library of the same name put into an earlier directory is the one that links."""
    one, two = box.root / "one", box.root / "two"
    one.mkdir()
    archive(two, 2)
    files, env = finds(f"-Lnative={one} -Lnative={two} -lstatic=value")
    checkout = box.checkout("a", files)
    checkout.build(env=env)
    assert prints(checkout, "app", env) == "2\n"
    archive(one, 1)
    checkout.clean().build(env=env).expect(misses=1)
    assert prints(checkout, "app", env) == "1\n"
    (one / "libvalue.a").unlink()
    checkout.clean().build(env=env)
    assert prints(checkout, "app", env) == "2\n"


def test_an_archive_of_old_date(box: Sandbox) -> None:
    """Guards dates: an archive replaced by one of the same size and date is another archive."""
    place = box.root / "lib"
    archive(place, 1)
    facts = (place / "libvalue.a").stat()
    files, env = finds(f"-Lnative={place} -lstatic=value")
    checkout = box.checkout("a", files)
    checkout.build(env=env)
    archive(place, 2)
    os.utime(place / "libvalue.a", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert (place / "libvalue.a").stat().st_size == facts.st_size and stat.S_ISREG(facts.st_mode)
    checkout.clean().build(env=env).expect(misses=1)
    assert prints(checkout, "app", env) == "2\n"
