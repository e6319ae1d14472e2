"""Whatever changes the outcome of a compile makes it a miss, and a restored program does what rustc's own would do."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon, slow
from tests.support.projects import Files, alone, below, chain, lib, manifest, workspace
from tests.support.sandbox import Sandbox

Env = dict[str, str]

FEATURES = "[features]\nextra = []\n"
SHADOW = {"src/inner.rs": "pub fn one() {}\n"}


def _edited(text: str) -> Callable[[Files], Files]:
    return lambda files: files | {"src/lib.rs": text}


def _with(name: str, text: str) -> Callable[[Files], Files]:
    return lambda files: files | {name: text}


# name: (files, variables before, change of the files, variables after)
CHANGES: dict[str, tuple[Files, Env, Callable[[Files], Files], Env]] = {
    "source": (lib(), {}, _edited("pub fn answer() -> u32 { 43 }\n"), {}),
    "a comment": (lib(), {}, _edited("// said\npub fn answer() -> u32 { 42 }\n"), {}),
    "include_str": (
        lib('pub const T: &str = include_str!("t.txt");\n', more={"src/t.txt": "one"}),
        {},
        _with("src/t.txt", "two"),
        {},
    ),
    "include_bytes": (
        lib('pub const T: &[u8] = include_bytes!("../t.bin");\n', more={"t.bin": "one"}),
        {},
        _with("t.bin", "two"),
        {},
    ),
    "env": (lib('pub const V: &str = env!("WHO");\n'), {"WHO": "me"}, dict, {"WHO": "you"}),
    "option_env set": (lib('pub const V: Option<&str> = option_env!("WHO");\n'), {}, dict, {"WHO": "me"}),
    "option_env empty": (lib('pub const V: Option<&str> = option_env!("WHO");\n'), {}, dict, {"WHO": ""}),
    "option_env emptied": (lib('pub const V: Option<&str> = option_env!("WHO");\n'), {"WHO": "me"}, dict, {"WHO": ""}),
    "option_env unset": (lib('pub const V: Option<&str> = option_env!("WHO");\n'), {"WHO": ""}, dict, {}),
    "profile": (lib(), {}, dict, {"CARGO_PROFILE_DEV_OPT_LEVEL": "1"}),
    "debuginfo": (lib(), {}, dict, {"CARGO_PROFILE_DEV_DEBUG": "line-tables-only"}),
    "cfg": (lib(), {}, dict, {"RUSTFLAGS": "--cfg extra"}),
    "codegen flag": (lib(), {}, dict, {"RUSTFLAGS": "-Ctarget-feature=+aes"}),
    "cap-lints": (lib(), {}, dict, {"RUSTFLAGS": "--cap-lints=warn"}),
    "lint level": (lib(), {}, dict, {"RUSTFLAGS": "-Dunused"}),
    "salt": (lib(), {}, dict, {"KACHE_KEY_SALT": "pinch"}),
    "another salt": (lib(), {"KACHE_KEY_SALT": "pinch"}, dict, {"KACHE_KEY_SALT": "spoon"}),
    "edition": (
        lib(),
        {},
        lambda files: files | {"Cargo.toml": files["Cargo.toml"].replace("2021", "2018")},
        {},
    ),
    "feature": (
        lib(extra=FEATURES),
        {},
        lambda files: (
            files | {"Cargo.toml": files["Cargo.toml"].replace("extra = []", 'extra = []\ndefault = ["extra"]')}
        ),
        {},
    ),
    "version": (lib(), {}, lambda files: files | {"Cargo.toml": files["Cargo.toml"].replace("0.1.0", "0.1.1")}, {}),
    "description": (
        lib(),
        {},
        lambda files: files | {"Cargo.toml": files["Cargo.toml"].replace("[package]", '[package]\ndescription = "x"')},
        {},
    ),
    "module moved": (
        lib("mod inner;\n", more=SHADOW),
        {},
        lambda files: {("src/inner/mod.rs" if name == "src/inner.rs" else name): text for name, text in files.items()},
        {},
    ),
}
ALIKE = {"a comment", "option_env emptied", "lint level", "another salt", "include_bytes", "debuginfo", "version"}


@pytest.mark.parametrize("change", [pytest.param(name, marks=slow if name in ALIKE else ()) for name in CHANGES])
def test_a_change_is_a_miss_and_the_old_state_stays_a_hit(box: Sandbox, change: str) -> None:
    """Guards the key: every kind of input that can change a crate is in it."""
    files, before, changed, after = CHANGES[change]
    first = box.checkout("a", files)
    first.build(env=before).expect(misses=1, hits=0)
    second = box.checkout("second", changed(files))
    second.build(env=after).expect(misses=1, hits=0)
    first.clean().build(env=before).expect(hits=1, misses=0)
    second.clean().build(env=after).expect(hits=1, misses=0)


def test_a_file_that_would_shadow_a_module_is_the_error_it_is_without_kache(box: Sandbox) -> None:
    """Guards absent paths: `inner.rs` beside a new `inner/mod.rs` is an error of rustc's that a hit must not hide."""
    files = lib("mod inner;\n", more=SHADOW)
    box.checkout("a", files).build()
    second = box.checkout("second", files | {"src/inner/mod.rs": "pub fn other() {}\n"})
    failed = second.build(fails=True)
    failed.expect(misses=1, hits=0)
    assert "E0761" in failed.stderr
    assert failed.messages == second.plain("build", fails=True).messages


def test_a_body_changed_two_crates_down_reaches_the_program(box: Sandbox) -> None:
    """Guards inlining across crates: the program changes though neither it nor its own dependency was edited."""
    checkout = box.checkout("a", chain())
    checkout.build()
    checkout.edit("leaf/src/lib.rs", "21", "50")
    checkout.build().expect(misses="leaf mid app", hits=0)
    assert checkout.run("-p", "app") == "100\n"
    checkout.same_bytes_as_plain()


def test_a_private_body_changed_two_crates_down_reaches_the_program(box: Sandbox) -> None:
    """Guards links: code that is in no metadata, only in the rlib the linker reads, still makes the program a miss."""
    files = chain()
    files["leaf/src/lib.rs"] = "#[inline(never)]\npub fn number() -> u32 { hidden() }\nfn hidden() -> u32 { 21 }\n"
    checkout = box.checkout("a", files)
    checkout.build()
    checkout.edit("leaf/src/lib.rs", "21", "50")
    built = checkout.build()
    assert {call.crate for call in built.calls.misses} >= {"leaf", "app"}, built.calls
    assert checkout.run("-p", "app") == "100\n"
    checkout.same_bytes_as_plain()


def bundled_c() -> Files:
    """A program over a crate over a crate whose build script archives an object of C."""
    build_script = """use std::process::Command;
fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    println!("cargo:rerun-if-changed=native/value.c");
    let (object, archive) = (format!("{out}/value.o"), format!("{out}/libvalue.a"));
    assert!(Command::new("cc").args(["-c", "native/value.c", "-o", &object]).status().unwrap().success());
    assert!(Command::new("ar").args(["crsD", &archive, &object]).status().unwrap().success());
    println!("cargo:rustc-link-lib=static=value");
    println!("cargo:rustc-link-search=native={out}");
}
"""
    native = {
        "Cargo.toml": manifest("native", build='"build.rs"'),
        "build.rs": build_script,
        "native/value.c": "int value(void) { return 7; }\n",
        "src/lib.rs": 'extern "C" { fn value() -> i32; }\npub fn safe() -> i32 { unsafe { value() } }\n',
    }
    middle = {
        "Cargo.toml": manifest("middle", deps={"native": "../native"}),
        "src/lib.rs": "pub fn passed_on() -> i32 { native::safe() }\n",
    }
    app = {
        "Cargo.toml": manifest("app", deps={"middle": "../middle"}),
        "src/main.rs": 'fn main() { println!("{}", middle::passed_on()); }\n',
    }
    return workspace("app", "middle", "native") | below("native", native) | below("middle", middle) | below("app", app)


@pytest.mark.skipif(shutil.which("ar") is None, reason="needs ar")
def test_c_bundled_two_crates_down_reaches_the_program(box: Sandbox) -> None:
    """Guards native code: an archive changes the rlib it is bundled into, none above that, and the program."""
    first = box.checkout("a", bundled_c())
    first.build()
    assert first.run("-p", "app") == "7\n"
    second = box.checkout("second", bundled_c() | {"native/native/value.c": "int value(void) { return 8; }\n"})
    built = second.build()
    assert {"native", "app"} <= {call.crate for call in built.calls.misses}, built.calls
    assert second.run("-p", "app") == "8\n"
    third = box.checkout("the/third", bundled_c())
    third.build().expect(misses=0)
    assert third.run("-p", "app") == "7\n"
    third.same_bytes_as_plain()


def test_what_a_build_script_generates_is_an_input(box: Sandbox) -> None:
    """Guards OUT_DIR: a file generated there is read by content, wherever the directory is."""
    files = alone(
        {
            "Cargo.toml": manifest("made"),
            "build.rs": """fn main() {
    println!("cargo:rerun-if-changed=value.txt");
    let text = format!("pub const VALUE: &str = {:?};", std::fs::read_to_string("value.txt").unwrap());
    std::fs::write(std::env::var("OUT_DIR").unwrap() + "/value.rs", text).unwrap();
}
""",
            "value.txt": "one",
            "src/main.rs": 'include!(concat!(env!("OUT_DIR"), "/value.rs"));\nfn main() { println!("{VALUE}"); }\n',
        }
    )
    box.checkout("a", files).build().expect(misses="made made")
    second = box.checkout("second", files | {"value.txt": "two"})
    second.build().expect(hits="made", misses="made")
    assert second.run() == "two\n"
    third = box.checkout("third", files)
    third.build().expect(hits="made made", misses=0)
    assert third.run() == "one\n"


def test_variables_a_build_script_sets_are_inputs(box: Sandbox) -> None:
    """Guards cargo:rustc-env and cargo:rustc-cfg, which reach the compile as variable and flag."""
    files = alone(
        {
            "Cargo.toml": manifest("made"),
            "build.rs": """fn main() {
    println!("cargo:rerun-if-env-changed=WHO");
    println!("cargo:rustc-env=GREETING=hello {}", std::env::var("WHO").unwrap());
}
""",
            "src/main.rs": 'fn main() { println!("{}", env!("GREETING")); }\n',
        }
    )
    box.checkout("a", files).build(env={"WHO": "you"})
    second = box.checkout("second", files)
    second.build(env={"WHO": "me"}).expect(hits="made", misses="made")
    assert second.run(env={"WHO": "me"}) == "hello me\n"


def test_a_linker_script_is_an_input(box: Sandbox) -> None:
    """Guards files named for the linker: their content, not their name, decides what a program contains."""
    files = alone(
        {
            "Cargo.toml": manifest("linked"),
            "versions.map": "{ local: *; };\n",
            "src/main.rs": "fn main() {}\n",
            ".cargo/config.toml": '[build]\nrustflags = ["-Clink-arg=-Wl,--version-script=versions.map"]\n',
        }
    )
    box.checkout("a", files).build().expect(misses=1)
    second = box.checkout("second", files | {"versions.map": "{ local: nothing_*; };\n"})
    second.build().expect(misses=1, hits=0)
    second.same_bytes_as_plain()
    box.checkout("third", files).build().expect(hits=1, misses=0)


# ---- crates that bake their own place in


BAKED = {
    "manifest dir": 'fn main() { println!("{}", env!("CARGO_MANIFEST_DIR")); }\n',
    "hash of it": """const fn sum(text: &str) -> u64 {
    let (mut i, mut s) = (0, 7u64);
    while i < text.len() { s = s.wrapping_mul(31).wrapping_add(text.as_bytes()[i] as u64); i += 1; }
    s
}
const VALUE: u64 = sum(env!("CARGO_MANIFEST_DIR"));
fn main() { println!("{VALUE}"); }
""",
    "length of it": 'const N: usize = env!("CARGO_MANIFEST_DIR").len();\nfn main() { println!("{N}"); }\n',
    "manifest path": 'fn main() { println!("{}", env!("CARGO_MANIFEST_PATH")); }\n',
    "out dir": 'fn main() { println!("{}", env!("OUT_DIR")); }\n',
    "hash of out dir": """const fn sum(text: &str) -> u64 {
    let (mut i, mut s) = (0, 7u64);
    while i < text.len() { s = s.wrapping_mul(31).wrapping_add(text.as_bytes()[i] as u64); i += 1; }
    s
}
const VALUE: u64 = sum(env!("OUT_DIR"));
include!(concat!(env!("OUT_DIR"), "/nothing.rs"));
fn main() { println!("{VALUE}"); }
""",
    "option_env": 'fn main() { println!("{:?}", option_env!("CARGO_MANIFEST_DIR")); }\n',
    "by a macro": """macro_rules! here { ($($name:literal)*) => { concat!($(env!($name), "!"),*) } }
fn main() { println!("{}", here!("CARGO_MANIFEST_DIR")); }
""",
}
BUILD_SCRIPT = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    std::fs::write(std::env::var("OUT_DIR").unwrap() + "/nothing.rs", "").unwrap();
}
"""
BAKED_ALIKE = {"length of it", "manifest path", "option_env"}


@pytest.mark.parametrize("how", [pytest.param(name, marks=slow if name in BAKED_ALIKE else ()) for name in BAKED])
@mostly_daemon
def test_a_crate_that_bakes_its_place_in_tells_its_own(box: Sandbox, how: str) -> None:
    """Guards against serving one checkout's path to another, in whatever form the crate keeps it."""
    files = alone({"Cargo.toml": manifest("baked"), "build.rs": BUILD_SCRIPT, "src/main.rs": BAKED[how]})
    places: list[Checkout] = [box.checkout("a", files), box.checkout("second/place", files)]
    for checkout in places:
        checkout.build()
    for checkout in places:
        checkout.clean().build().expect(misses=0)
        assert checkout.run() == checkout.plain("run", "--quiet").stdout
    assert places[0].run() != places[1].run()


def test_file_macro_and_panic_place_are_stable_names(box: Sandbox) -> None:
    """Guards `file!()`: relative in a workspace member, so that checkouts can share what contains it."""
    files = alone({"Cargo.toml": manifest("where_"), "src/main.rs": 'fn main() { println!("{}", file!()); }\n'})
    box.checkout("a", files).build()
    second = box.checkout("second", files)
    second.build().expect(hits=1)
    assert second.run() == second.plain("run", "--quiet").stdout == "src/main.rs\n"


@mostly_daemon
def test_a_build_script_is_compared_with_its_own_packages(box: Sandbox) -> None:
    """Guards why-miss: all build scripts have one crate name, and another package's is no earlier compile of it."""
    files = workspace("one", "two")
    for name in ("one", "two"):
        scripted = {"Cargo.toml": manifest(name), "src/lib.rs": "", "build.rs": "fn main() {}\n"}
        files |= below(name, scripted)
    checkout = box.checkout("a", files)
    checkout.build()
    assert {each["cause"] for each in box.data("why-miss")["misses"]} == {"first-compile"}
    checkout.edit("one/build.rs", "{}", "{ let _ = 1; }")
    checkout.build()
    (why,) = (each for each in box.data("why-miss")["misses"] if each["unit_kind"] == "build-script")
    assert [change["label"] for change in why["changes"]] == ["<cwd>/one/build.rs"]


@mostly_daemon
def test_a_failed_compile_is_neither_explained_nor_compared_with(box: Sandbox) -> None:
    """Guards why-miss: what a failed compile had read is not known."""
    checkout = box.checkout("a", lib())
    checkout.build()
    checkout.edit("src/lib.rs", "42", "oops")
    checkout.build(fails=True)
    (why,) = box.data("why-miss")["misses"]
    assert (why["cause"], why["changes"]) == ("failed", [])
    checkout.edit("src/lib.rs", "oops", "43")
    checkout.build()
    (why,) = box.data("why-miss")["misses"]
    (change,) = why["changes"]
    assert change["label"] == "<cwd>/src/lib.rs"
    assert change["before"] and change["after"]
