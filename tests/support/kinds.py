"""A workspace with every kind of unit cargo has, each as small as it gets."""

from __future__ import annotations

from tests.support.projects import Files, below, manifest, workspace


def all_kinds() -> Files:
    """Libraries of every crate type, programs, example, tests, benchmark, build script, proc macro: `--all-targets`.

    `user` depends on everything Rust can link to, and panics in `broken_when_asked` with a place in its own source.
    """
    return {
        **workspace("user", "plain", "both", "archive", "shared", "foreign", "macros"),
        **below("plain", _library("plain")),
        **below("both", _library("both", '["rlib", "cdylib"]')),
        **below("archive", _library("archive", '["staticlib"]')),
        **below("shared", _library("shared", '["dylib"]')),
        **below("foreign", _library("foreign", '["cdylib"]')),
        **below("macros", _MACROS),
        **below("user", _USER),
    }


def _library(name: str, crate_types: str = "") -> Files:
    extra = f"[lib]\ncrate-type = {crate_types}" if crate_types else ""
    return {
        "Cargo.toml": manifest(name, extra=extra),
        "src/lib.rs": f'#[no_mangle]\npub extern "C" fn {name}_value() -> u32 {{ {len(name)} }}\n',
    }


_MACROS = {
    "Cargo.toml": manifest("macros", extra="[lib]\nproc-macro = true"),
    "src/lib.rs": """use proc_macro::TokenStream;

/// Two functions, made.
#[proc_macro_derive(Two)]
pub fn two(_: TokenStream) -> TokenStream { "pub fn two() -> u32 { 2 }".parse().unwrap() }
""",
}

_USER = {
    "Cargo.toml": manifest(
        "user",
        deps={"plain": "../plain", "both": "../both", "macros": "../macros"},
        extra="[[bench]]\nname = 'speed'\nharness = false",
    ),
    "build.rs": """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=FROM_BUILD=3");
}
""",
    "src/lib.rs": """//! Uses all.
#[derive(macros::Two)]
struct Marker;

/// Adds up.
pub fn all() -> u32 { let _ = Marker; plain::plain_value() + both::both_value() + two() }

#[cfg(test)]
mod tests {
    #[test]
    fn adds() { assert_eq!(super::all(), 11); }
}
""",
    "src/main.rs": """fn main() { println!("{} {}", user::all(), env!("FROM_BUILD")); }\n""",
    "src/bin/second.rs": "fn main() {}\n",
    "examples/shown.rs": 'fn main() { println!("{}", user::all()); }\n',
    "tests/outside.rs": "#[test]\nfn adds() { assert_eq!(user::all(), 11); }\n",
    "benches/speed.rs": "fn main() { assert_eq!(user::all(), 11); }\n",
}
