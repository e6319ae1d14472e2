"""The environment a compile sees: variables that rustc, a macro or cargo reads decide, all others do not."""

from __future__ import annotations

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon, slow
from tests.support.projects import Files, alone, below, manifest, workspace
from tests.support.sandbox import Sandbox
from tests.support.states import Env, State, prints, told_apart

FEATURE = "#![feature(rustc_attrs)]\nfn main() {}\n"


def program(main: str, more: Files | None = None) -> Files:
    """A package `app` that is one program."""
    return alone({"Cargo.toml": manifest("app"), "src/main.rs": main, **(more or {})})


# ---- set, empty, unset


VALUES: dict[str, Env] = {"unset": {}, "empty": {"WHO": ""}, "set": {"WHO": "me"}, "another": {"WHO": "you"}}


@pytest.mark.parametrize("before", [pytest.param(n, marks=slow if n in ("empty", "another") else ()) for n in VALUES])
@mostly_daemon
def test_every_state_of_an_optional_variable(box: Sandbox, before: str) -> None:
    """Guards `option_env!`: unset, empty and set are three things, and each comes back as itself."""
    files = program('fn main() { println!("{:?}", option_env!("WHO")); }\n')
    checkout = box.checkout("a", files)
    order = [before, *(name for name in VALUES if name != before)]
    for name in order:
        checkout.clean().build(env=VALUES[name]).expect(misses=1, hits=0)
        assert prints(checkout, "app", VALUES[name])
    for name in reversed(order):
        checkout.clean().build(env=VALUES[name]).expect(hits=1, misses=0)
        assert prints(checkout, "app", VALUES[name]) == f"{'Some' if name != 'unset' else 'None'}" + (
            f'("{VALUES[name]["WHO"]}")\n' if name != "unset" else "\n"
        )


# ---- what cargo sets


PACKAGE: dict[str, tuple[str, dict[str, str]]] = {
    "CARGO_PKG_NAME": ("app", {}),
    "CARGO_PKG_AUTHORS": ("Somebody", {"authors": '["Somebody"]'}),
    "CARGO_PKG_HOMEPAGE": ("https://example.org", {"homepage": '"https://example.org"'}),
    "CARGO_PKG_RUST_VERSION": ("1.60", {"rust_version": '"1.60"'}),
}


@pytest.mark.parametrize("name", [pytest.param(n, marks=slow if n.endswith(("NAME", "PAGE")) else ()) for n in PACKAGE])
@mostly_daemon
def test_what_a_macro_reads_of_the_package(box: Sandbox, name: str) -> None:
    """Guards macros that ask for CARGO_PKG_*: rustc does not notice, and yet the manifest decides."""
    value, package = PACKAGE[name]
    macro = f"""use proc_macro::TokenStream;

#[proc_macro]
pub fn read(_: TokenStream) -> TokenStream {{
    format!("{{:?}}", std::env::var("{name}").unwrap_or_default()).parse().unwrap()
}}
"""
    files = {
        **workspace("macros", "app"),
        **below("macros", {"Cargo.toml": manifest("macros", extra="[lib]\nproc-macro = true"), "src/lib.rs": macro}),
        **below(
            "app",
            {
                "Cargo.toml": manifest("app", deps={"macros": "../macros"}),
                "src/main.rs": 'fn main() { println!("{}", macros::read!()); }\n',
            },
        ),
    }
    box.checkout("a", files).build()
    after = files | {"app/Cargo.toml": manifest("app", deps={"macros": "../macros"}, **package)}
    second = box.checkout("second", after)
    second.build().expect(hits="macros" if package else "macros app", misses="app" if package else 0)
    assert prints(second, "app") == value + "\n"


def test_a_build_script_that_asks_for_the_target(box: Sandbox) -> None:
    """Guards CARGO_CFG_*: what a build script makes of the target's features reaches the compile as a flag."""
    script = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(has_aes)");
    let features = std::env::var("CARGO_CFG_TARGET_FEATURE").unwrap_or_default();
    if features.split(',').any(|name| name == "aes") { println!("cargo:rustc-cfg=has_aes"); }
}
"""
    files = program('fn main() { println!("{}", cfg!(has_aes)); }\n', {"build.rs": script})
    aes = {"RUSTFLAGS": "-Ctarget-feature=+aes"}
    first, second = told_apart(box, State(files), State(files, aes), misses="app app")
    assert (prints(first, "app"), prints(second, "app", aes)) == ("false\n", "true\n")


# ---- flags by another way


WAYS: dict[str, tuple[Files, Env]] = {
    "RUSTFLAGS": ({}, {"RUSTFLAGS": "--cfg special"}),
    "CARGO_ENCODED_RUSTFLAGS": ({}, {"CARGO_ENCODED_RUSTFLAGS": "--cfg\x1fspecial"}),
    "CARGO_BUILD_RUSTFLAGS": ({}, {"CARGO_BUILD_RUSTFLAGS": "--cfg special"}),
    "build.rustflags": ({".cargo/config.toml": '[build]\nrustflags = ["--cfg", "special"]\n'}, {}),
    "target.rustflags": ({".cargo/config.toml": "[target.'cfg(all())']\nrustflags = ['--cfg=special']\n"}, {}),
    "[env]": ({".cargo/config.toml": '[env]\nSPECIAL = "1"\n'}, {}),
}


@pytest.mark.parametrize("way", [pytest.param(n, marks=slow if n.startswith("CARGO") else ()) for n in WAYS])
@mostly_daemon
def test_flags_by_every_way_cargo_knows(box: Sandbox, way: str) -> None:
    """Guards flags out of configuration files: they are in no environment, and count as much."""
    more, env = WAYS[way]
    text = 'fn main() { println!("{}", cfg!(special) || option_env!("SPECIAL").is_some()); }\n'
    one = State(program(f"#![allow(unexpected_cfgs)]\n{text}"))
    other = State(one.files | more, env)
    first, second = told_apart(box, one, other, misses=1)
    assert (prints(first, "app"), prints(second, "app", env)) == ("false\n", "true\n")


@pytest.mark.parametrize("value", ["1", "app"])
@mostly_daemon
def test_unstable_features_are_allowed_to_those_who_may(box: Sandbox, value: str) -> None:
    """Guards RUSTC_BOOTSTRAP: what compiled with it must be the error it is without it, and not a hit."""
    allowed = {"RUSTC_BOOTSTRAP": value}
    checkout = box.checkout("a", program(FEATURE))
    checkout.build(env=allowed).expect(misses=1)
    failed = checkout.clean().build(fails=True)
    failed.expect(misses=1, hits=0)
    plain = checkout.plain("build", fails=True)
    assert (failed.exit_code, failed.messages) == (plain.exit_code, plain.messages)
    assert "E0554" in failed.stderr
    checkout.clean().build(env=allowed).expect(hits=1, misses=0)


# ---- a place baked in by somebody else's words


HASH = """pub const fn sum(text: &str) -> u64 {
    let (mut i, mut s) = (0, 7u64);
    while i < text.len() { s = s.wrapping_mul(31).wrapping_add(text.as_bytes()[i] as u64); i += 1; }
    s
}
"""
SCRIPT = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    std::fs::write(std::env::var("OUT_DIR").unwrap() + "/made.rs", "pub fn made() -> u32 { 5 }\\n").unwrap();
}
"""
INCLUDES = 'include!(concat!(env!("OUT_DIR"), "/made.rs"));\n'
# name: (the other crate, the program)
FOREIGN: dict[str, tuple[str, str]] = {
    "a macro of another crate": (
        HASH + '#[macro_export]\nmacro_rules! place { () => { $crate::sum(env!("CARGO_MANIFEST_DIR")) } }\n',
        'const PLACE: u64 = other::place!();\nfn main() { println!("{PLACE}"); }\n',
    ),
    "one that includes as well": (
        HASH
        + '#[macro_export]\nmacro_rules! place { () => { $crate::sum(env!("OUT_DIR")) } }\n'
        + '#[macro_export]\nmacro_rules! inc { () => { include!(concat!(env!("OUT_DIR"), "/made.rs")); } }\n',
        'other::inc!();\nconst PLACE: u64 = other::place!();\nfn main() { made(); println!("{PLACE}"); }\n',
    ),
    "a name put together": (
        HASH,
        'const PLACE: u64 = other::sum(env!(concat!("CARGO_MANIFEST", "_DIR")));\nfn main() { println!("{PLACE}"); }\n',
    ),
    "a name put together beside an include": (
        HASH,
        (
            f'{INCLUDES}const PLACE: u64 = other::sum(env!(concat!("OUT", "_DIR")));\n'
            'fn main() { made(); println!("{PLACE}"); }\n'
        ),
    ),
    "code in a file of any name": (
        HASH,
        f'{INCLUDES}include!("part.in");\nfn main() {{ made(); println!("{{PLACE}}"); }}\n',
    ),
    "a macro of another crate beside an include": (
        HASH + '#[macro_export]\nmacro_rules! place { () => { $crate::sum(env!("OUT_DIR")) } }\n',
        f'{INCLUDES}const PLACE: u64 = other::place!();\nfn main() {{ made(); println!("{{PLACE}}"); }}\n',
    ),
}


def with_other(other: str, main: str) -> Files:
    """A program `app` with a build script, over a library `other`."""
    app = {
        "Cargo.toml": manifest("app", deps={"other": "../other"}),
        "build.rs": SCRIPT,
        "src/main.rs": main,
        "src/part.in": 'const PLACE: u64 = other::sum(env!("OUT_DIR"));\n',
    }
    library = {"Cargo.toml": manifest("other"), "src/lib.rs": other}
    return {**workspace("other", "app"), **below("other", library), **below("app", app)}


@pytest.mark.parametrize("name", FOREIGN)
@mostly_daemon
def test_a_place_baked_in_by_the_words_of_another_crate(box: Sandbox, name: str) -> None:
    """Guards `env!` where the sources of the crate itself do not show it: each checkout gets its own value."""
    files = with_other(*FOREIGN[name])
    places: list[Checkout] = [box.checkout("a", files), box.checkout("second/place", files)]
    for checkout in places:
        checkout.build()
    for checkout in places:
        checkout.clean().build().expect(misses=0, hits=None)
        prints(checkout, "app")
    assert places[0].program("app") != places[1].program("app")


def test_generated_code_included_by_a_macro_of_another_crate(box: Sandbox) -> None:
    """Guards sharing: `other::inc!()` that does nothing but include is no reason to compile again elsewhere."""
    other = '#[macro_export]\nmacro_rules! inc { () => { include!(concat!(env!("OUT_DIR"), "/made.rs")); } }\n'
    files = with_other(other, 'other::inc!();\nfn main() { println!("{}", made()); }\n')
    box.checkout("a", files).build()
    second = box.checkout("second", files)
    second.build().expect(hits="other app app", misses=0)
    assert prints(second, "app") == "5\n"
