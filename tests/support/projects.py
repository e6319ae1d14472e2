"""A library of tiny cargo projects: file name to text, ready for `Sandbox.checkout`.

Each is as small as its purpose allows, since every scenario compiles it several times.
"""

from __future__ import annotations

from collections.abc import Mapping

Files = dict[str, str]


def manifest(name: str, *, deps: Mapping[str, str] | None = None, extra: str = "", **package: str) -> str:
    """A Cargo.toml.

    Args:
        name: of the package.
        deps: crate to path, relative to the package.
        extra: further TOML, after the dependencies.
        package: further keys of [package]: TOML values.
    """
    lines = ["[package]", f'name = "{name}"', 'version = "0.1.0"', 'edition = "2021"']
    lines += [f"{key.replace('_', '-')} = {value}" for key, value in package.items()]
    lines += ["", "[dependencies]"]
    lines += [f'{crate} = {{ path = "{path}" }}' for crate, path in (deps or {}).items()]
    return "\n".join([*lines, "", extra, ""])


def alone(files: Files) -> Files:
    """The package at the root as a workspace of its own: no Cargo.toml above the box may take it in."""
    return files | {"Cargo.toml": files["Cargo.toml"] + "\n[workspace]\n"}


def below(directory: str, files: Files) -> Files:
    """A package moved into a directory of a workspace."""
    return {f"{directory}/{name}": text for name, text in files.items()}


def workspace(*members: str, extra: str = "") -> Files:
    """The manifest of a workspace."""
    listed = ", ".join(f'"{member}"' for member in members)
    return {"Cargo.toml": f'[workspace]\nresolver = "2"\nmembers = [{listed}]\n{extra}\n'}


def lib(text: str = "pub fn answer() -> u32 { 42 }\n", *, extra: str = "", more: Files | None = None) -> Files:
    """One library package, `thing`: one unit.

    Args:
        text: its source.
        extra: TOML for the manifest.
        more: further files.
    """
    return alone({"Cargo.toml": manifest("thing", extra=extra), "src/lib.rs": text, **(more or {})})


def hello() -> Files:
    """A library and a program of one package: two units."""
    return alone(
        {
            "Cargo.toml": manifest("hello"),
            "src/lib.rs": 'pub fn greet(name: &str) -> String { format!("hello, {name}") }\n',
            "src/main.rs": 'fn main() { println!("{}", hello::greet("world")); }\n',
        }
    )


def chain() -> Files:
    """Three packages in a row, `app` (a program) on `mid` on `leaf`: three units."""
    return {
        **workspace("app", "mid", "leaf"),
        **below("leaf", {"Cargo.toml": manifest("leaf"), "src/lib.rs": LEAF}),
        **below(
            "mid",
            {
                "Cargo.toml": manifest("mid", deps={"leaf": "../leaf"}),
                "src/lib.rs": "#[inline]\npub fn doubled() -> u32 { 2 * leaf::number() }\n",
            },
        ),
        **below(
            "app",
            {
                "Cargo.toml": manifest("app", deps={"mid": "../mid"}),
                "src/main.rs": 'fn main() { println!("{}", mid::doubled()); }\n',
            },
        ),
    }


LEAF = "#[inline]\npub fn number() -> u32 { 21 }\n"


def everything() -> Files:
    """A proc macro, a build script, a ["cdylib", "rlib"] library, a program and its integration test.

    `cargo build` compiles five units: macros, the build script of generated, generated, both, app.
    """
    return {
        **workspace("macros", "generated", "both", "app"),
        **below("macros", MACROS),
        **below("generated", GENERATED),
        **below("both", BOTH),
        **below("app", APP),
    }


MACROS = {
    "Cargo.toml": manifest("macros", extra="[lib]\nproc-macro = true"),
    "src/lib.rs": """use proc_macro::TokenStream;

#[proc_macro]
pub fn seven(_: TokenStream) -> TokenStream { "7u32".parse().unwrap() }
""",
}

GENERATED = {
    "Cargo.toml": manifest("generated"),
    "build.rs": """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::write(format!("{out}/table.rs"), "pub const TABLE: [u32; 3] = [1, 2, 3];\\n").unwrap();
}
""",
    "src/lib.rs": 'include!(concat!(env!("OUT_DIR"), "/table.rs"));\npub fn sum() -> u32 { TABLE.iter().sum() }\n',
}

BOTH = {
    "Cargo.toml": manifest(
        "both",
        deps={"macros": "../macros", "generated": "../generated"},
        extra='[lib]\ncrate-type = ["cdylib", "rlib"]',
    ),
    "src/lib.rs": """#[no_mangle]
pub extern "C" fn total() -> u32 { macros::seven!() + generated::sum() }
""",
}

APP = {
    "Cargo.toml": manifest("app", deps={"both": "../both"}),
    "src/main.rs": 'fn main() { println!("{}", both::total()); }\n',
    "tests/whole.rs": "#[test]\nfn adds_up() { assert_eq!(both::total(), 13); }\n",
}


def warns() -> Files:
    """A library with an unused variable, and a program that uses it."""
    return alone(
        {
            "Cargo.toml": manifest("warns"),
            "src/lib.rs": "pub fn f() -> u32 {\n    let unused = 3;\n    4\n}\n",
            "src/main.rs": 'fn main() {\n    let mut same = warns::f();\n    println!("{same}");\n}\n',
        }
    )


def slow(seconds: float, text: str = "") -> Files:
    """A library, `slow`, whose compile takes a while: a macro of its own crate, `sleeper`, sleeps inside of rustc.

    The macro says `start <pid>` and `end <pid>` to the pipe named by SLOW_LOG, so that compiles can be counted, waited
    for and killed. rustc has written its dep-info by then.
    """
    macro = f"""use proc_macro::TokenStream;
use std::io::Write;

fn note(word: &str) {{
    if let Some(path) = std::env::var_os("SLOW_LOG") {{
        let mut log = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        log.write_all(format!("{{word}} {{}}\\n", std::process::id()).as_bytes()).unwrap();
    }}
}}

#[proc_macro]
pub fn wait(_: TokenStream) -> TokenStream {{
    note("start");
    std::thread::sleep(std::time::Duration::from_millis({int(seconds * 1000)}));
    note("end");
    TokenStream::new()
}}
"""
    sleeper = {"Cargo.toml": manifest("sleeper", extra="[lib]\nproc-macro = true"), "src/lib.rs": macro}
    sleeping = {
        "Cargo.toml": manifest("slow", deps={"sleeper": "../sleeper"}),
        "src/lib.rs": f"sleeper::wait!();\n{text}\npub fn done() {{}}\n",
    }
    return {**workspace("sleeper", "slow"), **below("sleeper", sleeper), **below("slow", sleeping)}
