"""What no argument and no dep-info line shows, and yet decides a compile: a change of it is never a hit."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.support.projects import Files, alone, lib, manifest
from tests.support.sandbox import Sandbox

SEPARATOR = "\x1f"
CALLS = 'extern "C" { fn value() -> i32; }\nfn main() { println!("{}", unsafe { value() }) }\n'
LINKS = '#[link(name = "value")]\n' + CALLS

# name: (source, flags, variables); {lib} is the directory of libvalue.a and value.o
NATIVE: dict[str, tuple[str, tuple[str, ...], dict[str, str]]] = {
    "objects in link-args": (CALLS, ("-Clink-args={lib}/value.o -lc",), {}),
    "directory in link-args": (CALLS, ("-Clink-args=-L{lib} -lvalue",), {}),
    "directory as a word of its own": (CALLS, ("-Clink-arg=-L", "-Clink-arg={lib}", "-Clink-arg=-lvalue"), {}),
    "long name of -L": (CALLS, ("-Clink-arg=-Wl,--library-path={lib}", "-Clink-arg=-lvalue"), {}),
    "library path": (CALLS, ("-lvalue",), {"LIBRARY_PATH": "{lib}"}),
    "link attribute": (LINKS, (), {"LIBRARY_PATH": "{lib}"}),
}


def program(text: str, more: Files | None = None) -> Files:
    """A package that is one program, `app`."""
    return alone({"Cargo.toml": manifest("app"), "src/main.rs": text, **(more or {})})


@pytest.mark.parametrize("name", NATIVE)
def test_a_native_library_changed(box: Sandbox, name: str) -> None:
    """Guards links: the contents of what linker arguments reach, however they spell it."""
    text, flags, env = NATIVE[name]
    directory = box.root / "native"
    directory.mkdir()
    flags = tuple(flag.format(lib=directory) for flag in flags)
    env = {key: value.format(lib=directory) for key, value in env.items()}
    env["CARGO_ENCODED_RUSTFLAGS"] = SEPARATOR.join(flags)
    checkout = box.checkout("a", program(text))
    for number in ("1", "2"):
        (directory / "value.c").write_text(f"int value(void) {{ return {number}; }}\n")
        subprocess.run(["cc", "-c", "value.c", "-o", "value.o"], cwd=directory, check=True)
        (directory / "libvalue.a").unlink(missing_ok=True)
        subprocess.run(["ar", "rcs", "libvalue.a", "value.o"], cwd=directory, check=True)
        checkout.clean().build(env=env)
        assert checkout.program("app").strip() == number


def test_a_linker_script_found_by_the_search_path_changed(box: Sandbox) -> None:
    """Guards embedded projects: `-Tlink.x`, found in a directory of -L."""
    text = 'extern "C" { static VALUE: u8; }\nfn main() { println!("{}", &raw const VALUE as usize) }\n'
    checkout = box.checkout("a", program(text, {"scripts/link.x": "VALUE = 1;\n"}))
    scripts = checkout.path / "scripts"
    flags = (f"-Lnative={scripts}", "-Clink-arg=-Wl,-Tlink.x", "-Clink-arg=-no-pie", "-Crelocation-model=static")
    env = {"CARGO_ENCODED_RUSTFLAGS": SEPARATOR.join(flags)}
    for number in ("1", "2"):
        checkout.write("scripts/link.x", f"VALUE = {number};\n")
        checkout.clean().build(env=env)
        assert checkout.program("app").strip() == number


def test_a_file_the_assembler_reads_changed(box: Sandbox) -> None:
    """Guards `.incbin`: rustc's dep-info does not name what the assembler includes."""
    text = (
        'core::arch::global_asm!(".data", ".global blob", "blob: .incbin \\"blob.bin\\"");\n'
        'extern "C" { static blob: [u8; 3]; }\n'
        'fn main() { println!("{}", std::str::from_utf8(unsafe { &*&raw const blob }).unwrap()) }\n'
    )
    checkout = box.checkout("a", program(text, {"blob.bin": "one"}))
    for word in ("one", "two"):
        checkout.write("blob.bin", word)
        checkout.clean().build()
        assert checkout.program("app").strip() == word


def test_the_shells_own_variables_when_a_crate_has_them_in_it(box: Sandbox) -> None:
    """Guards calls seen before: their id leaves PWD out, which `option_env!` may have baked in."""
    checkout = box.checkout("a", program('fn main() { println!("{:?}", option_env!("PWD")) }\n'))
    long_ago = 1_600_000_000
    os.utime(checkout.path / "src/main.rs", (long_ago, long_ago))
    for place in ("/one", "/one", "/one", "/two"):
        checkout.clean().build(env={"PWD": place})
        assert checkout.program("app").strip() == f'Some("{place}")'


def test_a_path_baked_in_by_length_beside_an_include(box: Sandbox) -> None:
    """Guards variables used to include files: a macro whose name only ends in `include!` may do anything with one."""
    text = (
        'include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/more.rs"));\n'
        "macro_rules! not_include { ($e:expr) => { $e.len() } }\n"
        'pub const N: usize = not_include!(env!("CARGO_MANIFEST_DIR"));\n'
        'fn main() { more(); println!("{N}") }\n'
    )
    files = program(text, {"src/more.rs": "pub fn more() {}\n"})
    for name in ("a", "a/longer/name"):
        checkout = box.checkout(name, files)
        checkout.build()
        assert checkout.program("app").strip() == str(len(str(checkout.path)))


def test_sources_that_came_by_a_link_turned_over_during_the_compile(box: Sandbox) -> None:
    """Guards recording: what rustc read is not what lies there now, though no file is newer than the compile."""
    slow = "".join(f"fn f{i}(x: u64) -> u64 {{ (0..x).map(|a| a * {i}).sum() }}\n" for i in range(1500))
    slow += (
        "fn all() -> u64 { ["
        + ", ".join(f"f{i}" for i in range(1500))
        + "].iter().map(|f: &fn(u64) -> u64| f(1)).sum() }\n"
    )
    checkout = box.checkout("a", program(""))
    for version in ("one", "two"):
        text = f'{slow}fn main() {{ all(); println!("{version}") }}\n'
        checkout.write(f"{version}/main.rs", text)
    (checkout.path / "src/main.rs").unlink()
    (checkout.path / "src").rmdir()
    (checkout.path / "src").symlink_to("one")
    running = checkout.start("build")
    deps = checkout.target / "debug/deps"
    while running.poll() is None and not list(deps.glob("app-*.d")):
        pass
    (checkout.path / "new").symlink_to("two")
    (checkout.path / "new").rename(checkout.path / "src")
    running.communicate(timeout=120)
    assert running.returncode == 0
    box.settle()
    checkout.clean().build()
    assert checkout.program("app").strip() == "two"


def test_questions_about_files(box: Sandbox) -> None:
    """Guards answers from memory: the name a source gives its crate is read from the source each time."""
    checkout = box.checkout("a", lib())
    source = checkout.path / "src/lib.rs"
    for name in ("one", "one", "two"):
        source.write_text(f'#![crate_name = "{name}"]\n')
        done = box.kache("rustc", "--print=crate-name", str(source))
        assert done.stdout.strip() == name


def test_messages_that_name_a_directory_called_cargo(box: Sandbox) -> None:
    """Guards replacements: addresses and directories are not taken for the stable name of CARGO_HOME."""
    text = '#[deprecated(note = "see https://example.org/cargo/x")]\nfn old() {}\npub fn f() { old() }\n'
    files = {"Cargo.toml": manifest("dep"), "src/lib.rs": text}
    files = alone(files)
    box.checkout("cargo/dep", files)
    uses = alone({"Cargo.toml": manifest("uses", deps={"dep": "../cargo/dep"}), "src/lib.rs": ""})
    checkout = box.checkout("uses", uses)
    for _ in range(2):
        built = checkout.clean().check("--message-format=json")
        plain = checkout.plain("check", "--message-format=json")
        assert "/cargo/x" in built.stdout
        assert built.json == plain.json
