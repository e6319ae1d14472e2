"""What macros and linkers read without saying so: seen while compiling, and a change of it is never a hit.

Every scenario is a program, `app`, that prints what a macro of another package found when it was expanded.
"""

from __future__ import annotations

import contextlib
import os
import platform
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kache.reports.why_miss import decode_inputs
from tests.support.checkout import Checkout
from tests.support.projects import Files, alone, below, manifest
from tests.support.sandbox import Sandbox

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc", reason="needs glibc"
)
SEPARATOR = "\x1f"
HERE = 'std::env::var("CARGO_MANIFEST_DIR").unwrap()'

MACRO = """use proc_macro::TokenStream;

{items}

#[proc_macro]
pub fn look(_: TokenStream) -> TokenStream {{
    let seen: String = {{ {body} }};
    format!("{{seen:?}}").parse().unwrap()
}}
"""


def looks(body: str, more: Files | None = None, *, items: str = "") -> Files:
    """A program that prints what a macro sees; the body is an expression, a String."""
    macros = {
        "Cargo.toml": manifest("macros", extra="[lib]\nproc-macro = true"),
        "src/lib.rs": MACRO.format(body=body, items=items),
    }
    app = {
        "Cargo.toml": manifest("app", deps={"macros": "macros"}),
        "src/main.rs": 'fn main() { println!("{}", macros::look!()) }\n',
    }
    return {**alone(app), **below("macros", macros), **(more or {})}


def built(checkout: Checkout, env: dict[str, str], **expected: int | str) -> str:
    """Build in an empty target and give what the program prints, which is what it prints without kache."""
    checkout.clean().build(env=env).expect(**expected)
    said = checkout.program("app")
    assert said == checkout.plain("run", "--quiet", env=env).stdout
    return said.strip()


def seen_and_kept(checkout: Checkout, change: Callable[[], object], **env: str) -> tuple[str, str]:
    """Compile, hit, change, compile, hit; what the program printed before and after."""
    before = built(checkout, env, misses=2)
    assert built(checkout, env, hits=2) == before
    new = change()
    env = new if isinstance(new, dict) else env
    after = built(checkout, env, hits="macros", misses="app")
    assert built(checkout, env, hits=2) == after
    return before, after


def test_a_file_a_macro_reads(box: Sandbox) -> None:
    """Guards macros that read files no dep-info names: SQL, schemas, templates."""
    body = f'std::fs::read_to_string({HERE} + "/data.txt").unwrap()'
    checkout = box.checkout("a", looks(body, {"data.txt": "one"}))
    assert seen_and_kept(checkout, lambda: checkout.write("data.txt", "two")) == ("one", "two")


def test_the_first_edit_is_observed_as_well(box: Sandbox) -> None:
    """Guards the edit loop: a first edit is stored for everybody, so what its macros read must be known."""
    body = f'std::fs::read_to_string({HERE} + "/data.txt").unwrap()'
    checkout = box.checkout("a", looks(body, {"data.txt": "one"}))
    checkout.build(env={"CARGO_INCREMENTAL": "1"}).expect(misses=2)
    checkout.edit("src/main.rs", "fn main()", "fn main( )")
    checkout.build(env={"CARGO_INCREMENTAL": "1"}).expect(misses="app")
    checkout.write("data.txt", "two")
    assert built(checkout, {}, hits="macros", misses="app") == "two"


def test_a_directory_a_macro_lists(box: Sandbox) -> None:
    """Guards macros that take every file of a directory: migrations, assets, translations."""
    body = f'std::fs::read_dir({HERE} + "/data").unwrap().count().to_string()'
    checkout = box.checkout("a", looks(body, {"data/one": "", "data/two": ""}))
    assert seen_and_kept(checkout, lambda: checkout.write("data/three", "")) == ("2", "3")


def test_a_file_that_newly_shadows_another(box: Sandbox) -> None:
    """Guards lookups in order: what was looked for in vain is an input."""
    body = (
        f'["local.txt", "default.txt"].iter().find_map(|name| std::fs::read_to_string({HERE} + "/" + name).ok())'
        ".unwrap()"
    )
    checkout = box.checkout("a", looks(body, {"default.txt": "default"}))
    assert seen_and_kept(checkout, lambda: checkout.write("local.txt", "local")) == ("default", "local")


def test_a_file_whose_absence_a_macro_asks_about(box: Sandbox) -> None:
    """Guards `exists()`: below a directory that is not there either."""
    body = f'std::path::Path::new(&({HERE} + "/no/such/file")).exists().to_string()'
    checkout = box.checkout("a", looks(body))
    assert seen_and_kept(checkout, lambda: checkout.write("no/such/file", "")) == ("false", "true")


@pytest.mark.parametrize(("name", "values"), [("MY_FLAG", (None, "", "x")), ("TERM", ("dumb", "vt100"))])
def test_a_variable_a_macro_reads(box: Sandbox, name: str, values: tuple[str | None, ...]) -> None:
    """Guards variables: unset and empty differ, and what rustc's own reads leave out counts here."""
    checkout = box.checkout("a", looks(f'format!("{{:?}}", std::env::var_os("{name}"))'))
    for number, value in enumerate(values):
        env = {} if value is None else {name: value}
        built(checkout, env, misses="app" if number else "app macros", hits="macros" if number else 0)
        built(checkout, env, hits=2)


def test_a_macro_that_walks_through_the_environment(box: Sandbox) -> None:
    """Guards `std::env::vars()`, which no function of libc's serves: the environment counts whole."""
    body = 'format!("{:?}", std::env::vars().find(|(name, _)| name == "MY_FLAG"))'
    checkout = box.checkout("a", looks(body))
    before, after = seen_and_kept(checkout, lambda: {"MY_FLAG": "2"}, MY_FLAG="1")
    assert "1" in before and "2" in after
    checkout.clean().build(env={"MY_FLAG": "2", "TERM": "vt100", "SSH_TTY": "x"}).expect(hits=2)


@pytest.mark.parametrize("body", ["std::env::vars().count().to_string()", 'std::env::var("MY_TOKEN").unwrap()'])
def test_secrets_in_the_environment_are_not_kept(box: Sandbox, body: str) -> None:
    """Guards the index, which a backup may hold: it has digests of secrets, and of what nobody named."""
    checkout = box.checkout("a", looks(body))
    checkout.build(env={"MY_TOKEN": "hunter-two"}).expect(misses=2)
    with contextlib.closing(sqlite3.connect(box.index)) as connection:
        rows = connection.execute("SELECT inputs FROM events WHERE inputs IS NOT NULL").fetchall()
    kept = [decode_inputs(body) for (body,) in rows]
    assert any(value[0].startswith("(digest ") for inputs in kept for value in [inputs.get("env:MY_TOKEN", ("",))])
    assert not any("hunter-two" in value for inputs in kept for values in inputs.values() for value in values)
    if "count" in body:
        checkout.clean().build(env={"MY_TOKEN": "hunter-three"}).expect(hits=1, misses=1)


def test_what_rustc_and_the_linker_read_for_themselves_does_not_count(box: Sandbox) -> None:
    """Guards sharing between users and CI: terminal, locale, jobserver and logging change no output."""
    checkout = box.checkout("a", looks('"x".to_string()'))
    checkout.build().expect(misses=2)
    env = {"CI": "true", "TERM": "vt100", "LC_MESSAGES": "C", "RUST_BACKTRACE": "1", "RUSTC_LOG": "warn"}
    env["TMPDIR"] = str(box.root / "elsewhere")
    Path(env["TMPDIR"]).mkdir()
    del env["RUSTC_LOG"]  # in the key: it prints
    checkout.clean().build(env=env).expect(hits=2)


def test_what_a_program_reads_that_a_macro_runs(box: Sandbox) -> None:
    """Guards children: observed too, even with an environment of their own."""
    body = (
        f'let path = {HERE} + "/data.txt";'
        'let done = std::process::Command::new("cat").arg(path).env_clear().env("PATH", "/usr/bin:/bin").output();'
        "String::from_utf8(done.unwrap().stdout).unwrap()"
    )
    checkout = box.checkout("a", looks(body, {"data.txt": "one"}))
    assert seen_and_kept(checkout, lambda: checkout.write("data.txt", "two")) == ("one", "two")


def test_a_program_that_cannot_be_observed(box: Sandbox) -> None:
    """Guards static programs: what one that a macro runs has read is not known, so nothing is stored."""
    source, program = box.root / "static.c", box.root / "static"
    source.write_text('#include <stdio.h>\nint main(void) { puts("static"); return 0; }\n')
    if subprocess.run(["cc", "-static", source, "-o", program], capture_output=True, check=False).returncode:
        pytest.skip("needs a static libc")
    body = f'String::from_utf8(std::process::Command::new("{program}").output().unwrap().stdout).unwrap().trim().into()'
    checkout = box.checkout("a", looks(body))
    assert built(checkout, {}, misses=2) == "static"
    again = checkout.clean().build().expect(hits="macros", misses="app")
    assert [call.reason for call in again.calls.misses] == ["unobserved"]


def test_a_file_that_a_macro_writes_is_written_each_time(box: Sandbox) -> None:
    """Guards side effects: a hit would not bring back a file that is no output, so nothing is stored."""
    body = f'{{ std::fs::write({HERE} + "/made.txt", "made").unwrap(); String::from("made") }}'
    checkout = box.checkout("a", looks(body))
    built(checkout, {}, misses=2)
    (checkout.path / "made.txt").unlink()
    again = checkout.clean().build().expect(hits="macros", misses="app")
    assert [call.reason for call in again.calls.misses] == ["wrote-elsewhere"]
    assert (checkout.path / "made.txt").read_text() == "made"


def test_a_linkers_map_is_there_each_time(box: Sandbox) -> None:
    """Guards what a linker is told to write out of rustc's sight: by a file of arguments, or a script in its place."""
    files = alone({"Cargo.toml": manifest("app"), "src/main.rs": "fn main() {}\n", "args": "-Wl,-Map=app.map"})
    checkout = box.checkout("a", files)
    for _ in range(2):
        built = checkout.clean().build(env={"RUSTFLAGS": "-Clink-arg=@args"})
        assert [call.reason for call in built.calls.misses] == ["wrote-elsewhere"]
        (checkout.path / "app.map").unlink()


def test_a_variable_that_a_script_in_the_linkers_place_uses(box: Sandbox) -> None:
    """Guards linker scripts: a shell takes all variables at once, and its text says which of them count."""
    linker = box.root / "linker"
    linker.write_text('#!/bin/sh\nexec cc "$@" ${OBJECT}\n')
    linker.chmod(0o755)
    for number in (1, 2):
        (box.root / f"v{number}.c").write_text(f"int v(void) {{ return {number}; }}\n")
        subprocess.run(["cc", "-c", f"v{number}.c"], cwd=box.root, check=True)
    source = 'extern "C" { fn v() -> i32; }\nfn main() { println!("{}", unsafe { v() }); }\n'
    checkout = box.checkout("a", alone({"Cargo.toml": manifest("app"), "src/main.rs": source}))
    flags = {"RUSTFLAGS": f"-Clinker={linker}"}
    envs = [flags | {"OBJECT": str(box.root / f"v{number}.o")} for number in (1, 2)]
    assert built(checkout, envs[0], misses=1) == "1"
    assert built(checkout, envs[1], misses=1) == "2"
    assert built(checkout, envs[0] | {"UNUSED": "1"}, hits=1) == "1"


def test_a_name_that_a_macro_takes_from_the_checkouts_path(box: Sandbox) -> None:
    """Guards macros that use a part of CARGO_MANIFEST_DIR: the directory's own name is no whole path."""
    body = f"std::path::Path::new(&{HERE}).file_name().unwrap().to_str().unwrap().to_uppercase().to_lowercase()"
    for name in ("first-checkout", "second-checkout"):
        assert built(box.checkout(name, looks(body)), {}) == name
    same = box.checkout("elsewhere/first-checkout", looks(body))
    assert built(same, {}, hits=2) == "first-checkout"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_a_macro_that_asks_a_server(box: Sandbox, kind: str) -> None:
    """Guards macros that look into a database: what is answered may be another thing next time."""
    place = str(box.root / "server")
    with socket.socket(socket.AF_INET if kind == "tcp" else socket.AF_UNIX) as server:
        server.bind(("127.0.0.1", 0) if kind == "tcp" else place)
        server.listen()
        how = f'net::TcpStream::connect("127.0.0.1:{server.getsockname()[1]}")'
        how = how if kind == "tcp" else f'os::unix::net::UnixStream::connect("{place}")'
        checkout = box.checkout("a", looks(f"std::{how}.is_ok().to_string()"))
        assert built(checkout, {}, misses=2) == "true"
        again = checkout.clean().build().expect(hits="macros", misses="app")
        assert [call.reason for call in again.calls.misses] == ["unobserved"]
    assert built(checkout, {}, hits="macros", misses="app") == "false"


def test_a_macro_that_has_libc_start_a_shell(box: Sandbox) -> None:
    """Guards functions of libc that look at files and start programs inside: what they come to is not seen."""
    items = 'extern "C" { fn system(command: *const std::ffi::c_char) -> i32; }'
    body = 'unsafe { system(c"test -e data.txt".as_ptr()) == 0 }.to_string()'
    checkout = box.checkout("a", looks(body, items=items))
    assert built(checkout, {}, misses=2) == "false"
    checkout.write("data.txt", "one")
    assert built(checkout, {}, hits="macros", misses="app") == "true"


UPWARD = f"""std::path::Path::new(&{HERE}).ancestors().map(|path| path.join("marker"))
    .find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or("none".into())"""


@pytest.mark.parametrize("first", ["there", "absent"])
def test_a_file_a_macro_looks_for_above_the_checkout(box: Sandbox, first: str) -> None:
    """Guards macros that search upward (`.env`, `.git`, a configuration): other checkouts have others above them."""
    files = looks(UPWARD)
    for name in ("one", "two", "three"):
        (box.root / name).mkdir()
    if first == "there":
        (box.root / "one/marker").write_text("one")
    assert built(box.checkout("one/app", files), {}) == ("one" if first == "there" else "none")
    (box.root / "two/marker").write_text("two")
    assert built(box.checkout("two/app", files), {}) == "two"
    assert built(box.checkout("two/beside", files), {}, hits=2) == "two"
    assert built(box.checkout("three/deep/app", files), {}) == "none"


@pytest.mark.skipif(platform.machine() != "x86_64", reason="assembler of x86-64")
def test_a_macro_that_calls_the_kernel_by_itself(box: Sandbox) -> None:
    """Guards crates that do without libc: their system calls pass every preload by."""
    items = """fn id() -> isize {
    let result: isize;
    unsafe { core::arch::asm!("syscall", inlateout("rax") 102isize => result, out("rcx") _, out("r11") _) };
    result
}"""
    checkout = box.checkout("a", looks("(id() >= 0).to_string()", items=items))
    assert built(checkout, {}, misses=2) == "true"
    again = checkout.clean().build().expect(hits="macros", misses="app")
    assert [call.reason for call in again.calls.misses] == ["unobserved"]


def test_two_checkouts_and_two_homes_share(box: Sandbox) -> None:
    """Guards portability: what was seen is named by roots, in another checkout and for another user."""
    body = f'std::fs::read_to_string({HERE} + "/data.txt").unwrap()'
    files = looks(body, {"data.txt": "one"})
    box.checkout("a", files).build().expect(misses=2)
    other = box.checkout("elsewhere/b", files)
    other.build().expect(hits=2)
    home = box.root / "home2"
    home.mkdir()
    other.clean().build(env={"HOME": str(home)}).expect(hits=2)


VALUE = 'extern "C" { static VALUE: u8; }\nfn main() { println!("{}", &raw const VALUE as usize) }\n'
STATIC_FLAGS = ("-Clink-arg=-no-pie", "-Crelocation-model=static")


def linked(more: Files | None = None) -> Files:
    """A program that prints the address a linker gave a symbol."""
    return alone({"Cargo.toml": manifest("app"), "src/main.rs": VALUE, **(more or {})})


def linker(box: Sandbox, text: str) -> dict[str, str]:
    """A `cc` of our own, first on PATH."""
    directory = box.root / "bin"
    directory.mkdir(exist_ok=True)
    (directory / "cc").write_text(text)
    (directory / "cc").chmod(0o755)
    path = f"{directory}{os.pathsep}{box.env()['PATH']}"
    return {"PATH": path, "CARGO_ENCODED_RUSTFLAGS": SEPARATOR.join(STATIC_FLAGS)}


def test_a_file_that_a_linker_script_includes(box: Sandbox) -> None:
    """Guards embedded projects: `INCLUDE memory.x` in the script that a flag names."""
    files = linked({"scripts/link.x": "INCLUDE memory.x\n", "scripts/memory.x": "VALUE = 1;\n"})
    checkout = box.checkout("a", files)
    flags = (f"-Lnative={checkout.path}/scripts", "-Clink-arg=-Wl,-Tlink.x", *STATIC_FLAGS)
    env = {"CARGO_ENCODED_RUSTFLAGS": SEPARATOR.join(flags)}
    for number in ("1", "2"):
        checkout.write("scripts/memory.x", f"VALUE = {number};\n")
        assert built(checkout, env, misses=1) == number
        assert built(checkout, env, hits=1) == number
    checkout.clean().build(env=env | {"KACHE_OBSERVE": "0"}).expect(passthroughs=1)


def test_a_file_the_assembler_includes(box: Sandbox) -> None:
    """Guards `.incbin`: rustc's dep-info does not name what the assembler includes."""
    text = (
        'core::arch::global_asm!(".data", ".global blob", "blob: .incbin \\"blob.bin\\"");\n'
        'extern "C" { static blob: [u8; 3]; }\n'
        'fn main() { println!("{}", std::str::from_utf8(unsafe { &*&raw const blob }).unwrap()) }\n'
    )
    checkout = box.checkout("a", linked({"src/main.rs": text}))
    for word in ("one", "two"):
        checkout.write("blob.bin", word)
        assert built(checkout, {}, misses=1) == word
        assert built(checkout, {}, hits=1) == word


def compiled_linker(box: Sandbox, flag: str) -> dict[str, str]:
    """A `cc` of our own that is compiled with a flag."""
    env = linker(box, "")
    program = box.root / "bin" / "cc"
    source = box.root / "cc.c"
    source.write_text(
        "#include <unistd.h>\nint main(int n, char **v) { char *w[4096]; int i; for (i = 0; i < n; i++) w[i] = v[i];"
        ' w[0] = "/usr/bin/cc"; w[i++] = "-Wl,--defsym=VALUE=1"; w[i] = 0; return execv(w[0], w); }\n'
    )
    if subprocess.run(["cc", flag, source, "-o", program], capture_output=True, check=False).returncode:
        pytest.skip(f"needs the libraries for {flag}")
    return env


def test_a_linker_replaced_on_path(box: Sandbox) -> None:
    """Guards PATH: another program under the linker's name."""
    checkout = box.checkout("a", linked())
    for number in ("1", "2"):
        env = linker(box, f'#!/bin/sh\nexec /usr/bin/cc "$@" -Wl,--defsym=VALUE={number}\n')
        assert built(checkout, env, misses=1) == number
        assert built(checkout, env, hits=1) == number


def test_a_file_a_linker_reads_by_itself(box: Sandbox) -> None:
    """Guards wrappers around linkers: what they read, and what they read it from, is nowhere on a command line."""
    checkout = box.checkout("a", linked())
    setting = box.root / "setting"
    env = linker(box, f'#!/bin/sh\nread value < {setting}\nexec /usr/bin/cc "$@" -Wl,--defsym=VALUE=$value\n')
    for number in ("1", "2"):
        setting.write_text(f"{number}\n")
        assert built(checkout, env, misses=1) == number
        assert built(checkout, env, hits=1) == number


def test_a_linker_that_cannot_be_observed(box: Sandbox) -> None:
    """Guards static linkers: there the explicit rules decide, as they do without observation."""
    env = compiled_linker(box, "-static")
    checkout = box.checkout("a", linked())
    assert built(checkout, env, misses=1) == "1"
    assert built(checkout, env, hits=1) == "1"


def test_a_linker_that_is_sanitized(box: Sandbox) -> None:
    """Guards programs that insist on their sanitizer's library being the first: they run without us before it."""
    env = compiled_linker(box, "-fsanitize=address")
    assert built(box.checkout("a", linked()), env, misses=1) == "1"


def test_the_users_own_preload_is_kept(box: Sandbox) -> None:
    """Guards other preloads: they stay, in front of ours, and their value is all that macros and children see."""
    source, library, marker = box.root / "own.c", box.root / "own.so", box.root / "loaded"
    source.write_text(
        "#include <stdlib.h>\n#include <fcntl.h>\n#include <unistd.h>\n__attribute__((constructor)) static void "
        f'start(void) {{ close(open("{marker}", O_CREAT | O_WRONLY, 0600)); }}\n'
    )
    subprocess.run(["cc", "-shared", "-fPIC", source, "-o", library], check=True)
    body = (
        'let child = std::process::Command::new("sh").args(["-c", "env | grep -e LD_PRELOAD -e KACHE_OBS"]).output();'
        'let vars: Vec<_> = std::env::vars().filter(|(name, _)| name.contains("KACHE_OBS")).collect();'
        'format!("{:?} {vars:?} {:?}", std::env::var_os("LD_PRELOAD"), child.unwrap().stdout)'
    )
    checkout = box.checkout("a", looks(body))
    assert str(library) not in built(checkout, {}, misses=2)
    assert not marker.exists()
    assert str(library) in built(checkout, {"LD_PRELOAD": str(library)}, misses="app macros")
    assert marker.exists()


def test_switched_off(box: Sandbox) -> None:
    """Guards the setting: without observation explicit rules decide, and no entry of theirs serves others."""
    body = f'std::fs::read_to_string({HERE} + "/data.txt").unwrap()'
    checkout = box.checkout("a", looks(body, {"data.txt": "one"}))
    off = {"KACHE_OBSERVE": "0"}
    assert built(checkout, off, misses=2) == "one"
    checkout.write("data.txt", "two")
    checkout.clean().build(env=off).expect(hits=2)
    assert built(checkout, {}, misses=2) == "two"
    assert not list(box.cache_dir.glob("observer-*.so.*"))


def test_reports_name_what_changed(daemon_box: Sandbox) -> None:
    """Guards the answers to "why": why-miss, debug observed and doctor."""
    box = daemon_box
    body = f'std::fs::read_to_string({HERE} + "/data.txt").unwrap() + &std::env::var("MY_TOKEN").unwrap_or_default()'
    checkout = box.checkout("a", looks(body, {"data.txt": "one"}))
    checkout.build(env={"MY_TOKEN": "hush"}).expect(misses=2)
    checkout.write("data.txt", "two")
    checkout.clean().build(env={"MY_TOKEN": "hush!"}).expect(hits="macros", misses="app")
    missed = box.kache("why-miss", "app").stdout
    assert "<cwd>/data.txt" in missed and "MY_TOKEN" in missed and "hush" not in missed
    shown = box.kache("debug", "observed", "app").stdout
    assert "+ <cwd>/data.txt" in shown and "+ MY_TOKEN" in shown and "hush" not in shown
    assert "- TERM  (changes no output" in shown
    assert "compiles are observed" in box.kache("doctor").stdout
