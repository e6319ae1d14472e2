"""Flags: each that changes what rustc says or makes is in the key, in its order; what asks for more passes through."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.marks import mostly_daemon, slow
from tests.support.projects import Files, alone, chain, lib, manifest, warns
from tests.support.sandbox import Sandbox, host_triple, toolchain_bin
from tests.support.states import State, prints, told_apart

UNUSED = lib("pub fn f() { let x = 1; }\n")


def program(main: str) -> Files:
    """A package `app` that is one program."""
    return alone({"Cargo.toml": manifest("app"), "src/main.rs": main})


# ---- lints


LINTS: dict[str, tuple[str, str]] = {
    "allow, then deny": ("-Dunused -Aunused", "-Aunused -Dunused"),
    "warnings denied": ("", "-Dwarnings"),
    "one lint denied": ("", "-Dunused-variables"),
    "forbidden": ("-Aunused", "-Funused"),
    "caps taken off": ("--cap-lints=allow -Dwarnings", "--cap-lints=forbid -Dwarnings"),
    "forced": ("-Aunused", "-Aunused --force-warn unused -Dwarnings"),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=slow if n.startswith(("one", "forb")) else ()) for n in LINTS])
def test_lints_after_a_success_that_was_stored(box: Sandbox, name: str) -> None:
    """Guards CI's `-D warnings`: what compiled under milder lints is not served to those who asked for an error."""
    mild, strict = ({"RUSTFLAGS": flags} for flags in LINTS[name])
    first = box.checkout("a", UNUSED)
    first.build(env=mild).expect(misses=1)
    second = box.checkout("second", UNUSED)
    for _ in range(2):
        failed = second.clean().build(env=strict, fails=name != "forced")
        plain = second.plain("build", env=strict, fails=name != "forced")
        assert (failed.exit_code, failed.messages) == (plain.exit_code, plain.messages)
        failed.expect(hits=None, misses=1 if name != "forced" else None)
    again = second.clean().build(env=mild)
    again.expect(hits=1, misses=0)
    assert again.messages == second.plain("build", env=mild).messages


def test_cfgs_that_are_expected(box: Sandbox) -> None:
    """Guards --check-cfg: it changes nothing but a warning, and the warning must come and go with it."""
    text = "#[cfg(special)]\npub fn f() {}\n"
    expects = '[lints.rust]\nunexpected_cfgs = { level = "warn", check-cfg = ["cfg(special)"] }\n'
    for name in "abcd":
        checkout = box.checkout(name, lib(text, extra="" if name in "ac" else expects))
        built = checkout.build()
        assert built.messages == checkout.plain("build").messages
        assert ("unexpected `cfg`" in built.stderr) is (name in "ac")
        built.expect(hits=int(name in "cd"), misses=int(name in "ab"))


# ---- what makes other code


CODE: dict[str, tuple[str, str]] = {
    "the last of two levels": ("-Copt-level=0 -Copt-level=3", "-Copt-level=3 -Copt-level=0"),
    "-O and a level": ("-O", "-Copt-level=1"),
    "-g and a level": ("-g", "-Cdebuginfo=1"),
    "features added and taken": ("-Ctarget-feature=+aes,-aes", "-Ctarget-feature=-aes,+aes"),
    "a processor": ("-Ctarget-cpu=x86-64", "-Ctarget-cpu=x86-64-v2"),
    "checks": ("-Cdebug-assertions=on", "-Cdebug-assertions=off"),
    "mangling": ("-Csymbol-mangling-version=v0", ""),
    "a link argument": ("-Clink-arg=-Wl,--build-id=0x11", "-Clink-arg=-Wl,--build-id=0x22"),
    "link arguments in order": (
        "-Clink-arg=-Wl,-z,lazy -Clink-arg=-Wl,-z,now",
        "-Clink-arg=-Wl,-z,now -Clink-arg=-Wl,-z,lazy",
    ),
}
ALIKE = {"-g and a level", "a processor", "checks", "mangling"}


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="names features of x86-64")
@pytest.mark.parametrize("name", [pytest.param(n, marks=slow if n in ALIKE else ()) for n in CODE])
@mostly_daemon
def test_flags_that_make_other_code(box: Sandbox, name: str) -> None:
    """Guards the order of flags: the last one wins for some, the first or both for others, so all of it counts."""
    files = program('fn main() { println!("{} {}", cfg!(debug_assertions), cfg!(target_feature = "aes")); }\n')
    # cargo's own level would stand behind ours.
    quiet = {"CARGO_PROFILE_DEV_DEBUG": "false"}
    one, other = (State(files, {**quiet, "RUSTFLAGS": flags}) for flags in CODE[name])
    first, second = told_apart(box, one, other, misses=1)
    prints(first, "app", one.env)
    prints(second, "app", other.env)


@mostly_daemon
def test_a_remap_of_the_users_own(box: Sandbox) -> None:
    """Guards --remap-path-prefix: the user's name for a place wins over ours, in every checkout."""
    files = program('fn main() { println!("{}", std::panic::Location::caller().file()); }\n')
    for number, name in enumerate(("a", "the/second/one")):
        checkout = box.checkout(name, files)
        env = {"RUSTFLAGS": f"--remap-path-prefix=src={number}/mine --remap-path-prefix={checkout.path}=/there"}
        for _ in range(2):
            checkout.clean().build(env=env)
            assert prints(checkout, "app", env).startswith(f"{number}/mine")
            checkout.same_bytes_as_plain(env=env)
        checkout.clean().build(env=env).expect(hits=1, misses=0)


# ---- outputs asked for


_CARGOS = {".fingerprint", "incremental"}
EMITS = {
    "assembly": "--emit=asm",
    "several": "--emit=llvm-ir,mir,obj",
    "a path": "--emit=link=out.bin",
    "-o": "-oelsewhere",
    "temporary files": "-Csave-temps",
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=slow if n in ("several", "-o") else ()) for n in EMITS])
@mostly_daemon
def test_outputs_of_other_kinds_are_all_there(box: Sandbox, name: str) -> None:
    """Guards `cargo rustc -- --emit`: what is not cached is made each time, whole, with a reason."""
    checkout = box.checkout("a", program("fn main() {}\n"))
    checkout.build()
    for _ in range(2):
        built = checkout.clean().cargo("rustc", "--", EMITS[name])
        built.expect(hits=0, misses=0, passthroughs=1)
        found = names_in(checkout.target) + [path.name for path in checkout.path.glob("out.bin")]
        with checkout._target_aside():
            checkout.cargo("rustc", "--", EMITS[name], env={"RUSTC_WRAPPER": ""}, count=False)
            assert found == names_in(checkout.target) + [path.name for path in checkout.path.glob("out.bin")]
    checkout.clean().build().expect(hits=1, misses=0)


def names_in(target: Path) -> list[str]:
    """What compilers left, without what differs from run to run (save-temps numbers some files)."""
    found = {path.name for path in target.rglob("*") if path.is_file() and not _CARGOS & set(path.parts)}
    return sorted(name for name in found if not name.startswith((".", "CACHEDIR")) and "rcgu" not in name)


# ---- profiles, sanitizers, coverage


def test_a_program_that_writes_profiles(box: Sandbox, tmp_path: Path) -> None:
    """Guards -Cprofile-generate: restored elsewhere, the program still writes where this build said."""
    files = program('fn main() { println!("ran"); }\n')
    for name in ("a", "second"):
        checkout = box.checkout(name, files)
        wanted = checkout.path / "profiles"
        env = {"RUSTFLAGS": f"-Cprofile-generate={wanted}"}
        for _ in range(2):
            checkout.clean().build(env=env)
            assert checkout.program("app") == "ran\n"
            assert list(wanted.glob("*.profraw"))
            for path in wanted.glob("*.profraw"):
                path.unlink()
        checkout.clean().build(env=env).expect(hits=1, misses=0)


def test_a_profile_is_used_by_rustc_alone(box: Sandbox) -> None:
    """Guards -Cprofile-use: profiles are not followed, so such a compile is never ours, nor what it says."""
    checkout = box.checkout("a", program("fn main() {}\n"))
    checkout.build()
    profile = checkout.write("bad.profdata", "no profile at all")
    env = {"RUSTFLAGS": f"-Cprofile-use={profile}"}
    for _ in range(2):
        built = checkout.clean().build(env=env)
        built.expect(hits=0, misses=0, passthroughs=1)
        assert built.calls.passthroughs[0].reason == "profile-guided"
        assert "bad.profdata" in built.stderr
    assert built.messages == checkout.plain("build", env=env).messages


@mostly_daemon
def test_a_sanitizer(box: Sandbox) -> None:
    """Guards -Zsanitizer: instrumented and plain code are two things, and a restored program still finds the bug."""
    library = toolchain_bin().parent / "lib/rustlib" / host_triple() / "lib"
    if not list(library.glob("*asan*")):
        pytest.skip("the toolchain has no AddressSanitizer")
    files = program(
        "fn main() {\n    let v = vec![1u8; 4];\n"
        '    println!("{}", unsafe { *v.as_ptr().add(std::env::args().count() + 3) });\n}\n'
    )
    words = ("build", "--target", host_triple())
    env = {"RUSTC_BOOTSTRAP": "1", "RUSTFLAGS": "-Zsanitizer=address"}
    told_apart(box, State(files, {"RUSTC_BOOTSTRAP": "1"}, words), State(files, env, words), misses=1)
    second = box.checkout("the/second/one", {})
    program_path = second.target / host_triple() / "debug" / "app"
    done = subprocess.run([program_path], capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "heap-buffer-overflow" in done.stderr


@mostly_daemon
def test_coverage_maps_name_this_checkouts_sources(box: Sandbox) -> None:
    """Guards `cargo llvm-cov`: with coverage nothing is shared between checkouts, and everything within one."""
    coverage = {"RUSTFLAGS": "-Cinstrument-coverage"}
    for name in ("a", "second"):
        checkout = box.checkout(name, chain())
        env = {**coverage, "LLVM_PROFILE_FILE": str(checkout.path / "out.profraw")}
        checkout.test("--no-run", env=env).expect(hits=0)
        checkout.clean().test(env=env).expect(misses=0, hits=None)
        assert (checkout.path / "out.profraw").is_file()
        checkout.same_bytes_as_plain("test", "--no-run", env=env)


# ---- targets


BARE = """#![feature(no_core, lang_items)]
#![allow(internal_features)]
#![no_core]
#[lang = "pointee_sized"] pub trait PointeeSized {}
#[lang = "meta_sized"] pub trait MetaSized: PointeeSized {}
#[lang = "sized"] pub trait Sized: MetaSized {}
#[lang = "copy"] pub trait Copy {}
impl Copy for u32 {}
#[no_mangle] pub extern "C" fn answer() -> u32 { 42 }
"""
UNSTABLE = {"RUSTC_BOOTSTRAP": "1"}


def specification(box: Sandbox) -> dict[str, object]:
    """The host's target as a JSON document."""
    argv = [str(toolchain_bin() / "rustc"), "-Zunstable-options", "--print", "target-spec-json"]
    done = subprocess.run(argv, env=box.env(UNSTABLE), capture_output=True, text=True, check=True)
    document: dict[str, object] = json.loads(done.stdout)
    return document


@mostly_daemon
def test_a_target_that_is_a_file(box: Sandbox) -> None:
    """Guards `--target my.json`: the same name with another content is another target."""
    words = ("build", "-Zjson-target-spec", "--target", "my.json")
    before = specification(box)
    after = before | {"relro-level": "off", "cpu": "x86-64-v2" if before.get("arch") == "x86_64" else "generic"}
    states = [State(lib(BARE, more={"my.json": json.dumps(spec)}), UNSTABLE, words) for spec in (before, after)]
    probe = box.checkout("probe", states[0].files)
    plain = box.env(UNSTABLE | {"RUSTC_WRAPPER": ""})
    tried = subprocess.run(["cargo", *words], cwd=probe.path, env=plain, capture_output=True, check=False)
    if tried.returncode != 0:
        pytest.skip("this toolchain wants another core language")
    told_apart(box, *states, misses=1)
    box.checkout("third", states[1].files).cargo(*words, env=UNSTABLE).expect(hits=1, misses=0)


@mostly_daemon
def test_a_target_found_by_its_name(box: Sandbox) -> None:
    """Guards RUST_TARGET_PATH: the file a name leads to is an input, though no argument shows it."""
    for number, level in enumerate(("off", "full", "off")):
        directory = box.root / f"specs{number % 2}"
        directory.mkdir(exist_ok=True)
        (directory / "mine.json").write_text(json.dumps(specification(box) | {"relro-level": level}))
        checkout = box.checkout(f"c{number}", lib(BARE))
        argv = [
            "--crate-name",
            "thing",
            "src/lib.rs",
            "--crate-type=lib",
            "--edition=2021",
            "--emit=dep-info,metadata,link",
        ]
        argv += ["--error-format=json", "--json=artifacts", "--target=mine", f"--out-dir={checkout.path}/out"]
        (checkout.path / "out").mkdir()
        env = box.env({**UNSTABLE, "RUST_TARGET_PATH": str(directory)})
        command = [str(Path(box.env()["RUSTC_WRAPPER"])), str(toolchain_bin() / "rustc"), *argv, "-Zunstable-options"]
        done = subprocess.run(command, cwd=checkout.path, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip("this toolchain wants another core language")
        calls = box.calls()
        assert len(calls.hits) == (number == 2), calls


@mostly_daemon
def test_warnings_of_two_profiles_do_not_mix(box: Sandbox) -> None:
    """Guards features and profiles: each has its own messages, and each hit replays its own."""
    checkout = box.checkout("a", warns())
    for words in (("build",), ("build", "--release"), ("check",), ("build", "--release"), ("check",), ("build",)):
        built = checkout.clean().cargo(*words)
        assert built.messages == checkout.plain(*words).messages
    built.expect(hits=2, misses=0)
