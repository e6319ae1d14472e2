"""Build scripts and what they generate: their runs are cargo's, what comes of them is an input like any other."""

from __future__ import annotations

import pytest

from tests.support.marks import mostly_daemon, warm_too
from tests.support.projects import Files, alone, below, manifest, workspace
from tests.support.sandbox import Sandbox
from tests.support.states import Env, State, prints, told_apart

pytestmark = warm_too

KEPT = 'println!("cargo:rerun-if-changed=build.rs");'
PROC_MACRO = manifest("macros", extra="[lib]\nproc-macro = true")
DECLARES = {
    "a file": 'println!("cargo:rerun-if-changed=data/words.txt");',
    "a directory": 'println!("cargo:rerun-if-changed=data");',
    "a variable": 'println!("cargo:rerun-if-env-changed=WORDS");',
    "nothing": "",
}
# How what a script found out reaches the compile: (the script's line, the program's expression)
REACHES = {
    "a file in OUT_DIR": (
        'std::fs::write(std::env::var("OUT_DIR").unwrap() + "/w.txt", &words).unwrap();',
        'include_str!(concat!(env!("OUT_DIR"), "/w.txt"))',
    ),
    "a variable": ('println!("cargo:rustc-env=WORDS_FOUND={words}");', 'env!("WORDS_FOUND")'),
    "a cfg": (
        'println!("cargo:rustc-check-cfg=cfg(words, values(any()))"); println!("cargo:rustc-cfg=words=\\"{words}\\"");',
        'if cfg!(words = "two") { "two" } else { "one" }',
    ),
}


def scripted(declares: str, reaches: str, words: str) -> tuple[Files, Env]:
    """A program that prints the words its build script found."""
    line, expression = REACHES[reaches]
    source = (
        'std::env::var("WORDS").unwrap()'
        if declares == "a variable"
        else ('std::fs::read_to_string("data/words.txt").unwrap()')
    )
    script = f"fn main() {{\n    {DECLARES[declares]}\n    let words = {source};\n    {line}\n}}\n"
    files = {
        "Cargo.toml": manifest("app"),
        "build.rs": script,
        "data/words.txt": words if declares != "a variable" else "",
        "src/main.rs": f'fn main() {{ println!("{{}}", {expression}); }}\n',
    }
    return alone(files), ({"WORDS": words} if declares == "a variable" else {})


@pytest.mark.parametrize(
    ("declares", "reaches"),
    [(declares, "a file in OUT_DIR") for declares in DECLARES] + [("a file", name) for name in list(REACHES)[1:]],
)
@mostly_daemon
def test_what_a_build_script_found_out(box: Sandbox, declares: str, reaches: str) -> None:
    """Guards generated inputs: whatever a script declares, and however its result arrives, another result is a miss."""
    one, other = (State(*scripted(declares, reaches, word)) for word in ("one", "two"))
    first, second = told_apart(box, one, other, misses="app")
    assert (prints(first, "app", one.env), prints(second, "app", other.env)) == ("one\n", "two\n")
    # And where cargo runs the script again in the same target.
    if declares != "a variable":
        second.edit("data/words.txt", "two", "one")
        second.build().expect(hits=1, misses=0)
        assert second.program("app") == "one\n"


def test_what_a_package_tells_those_above_it(box: Sandbox) -> None:
    """Guards `links` and DEP_*: metadata of a -sys crate reaches the build script above it, and its crate."""

    def files(number: int) -> Files:
        sys = {
            "Cargo.toml": manifest("thing-sys", links='"thing"'),
            "build.rs": f'fn main() {{ {KEPT} println!("cargo:number={number}"); }}\n',
            "src/lib.rs": "",
        }
        script = 'println!("cargo:rustc-env=NUMBER={}", std::env::var("DEP_THING_NUMBER").unwrap());'
        app = {
            "Cargo.toml": manifest("app", deps={"thing-sys": "../thing-sys"}),
            "build.rs": f"fn main() {{ {KEPT} {script} }}\n",
            "src/main.rs": 'fn main() { println!("{}", env!("NUMBER")); }\n',
        }
        return {**workspace("app", "thing-sys"), **below("thing-sys", sys), **below("app", app)}

    first, second = told_apart(box, State(files(1)), State(files(2)), misses="thing_sys app")
    assert (prints(first, "app"), prints(second, "app")) == ("1\n", "2\n")


# What a generated file includes: (text of the file with {{dir}} for the package's directory, what is edited)
GENERATES: dict[str, str] = {
    "by its real path": 'include_str!(\\"{dir}/data.txt\\")',
    "beside it": 'include_str!(\\"data.txt\\")',
    "a module by its real path": '{{ #[path = \\"{dir}/part.rs\\"] mod part; part::say() }}',
}


@pytest.mark.parametrize("how", GENERATES)
@mostly_daemon
def test_generated_code_that_includes_more(box: Sandbox, how: str) -> None:
    """Guards code in OUT_DIR that names this checkout: each reads its own files, and says so."""
    script = f"""fn main() {{
    println!("cargo:rerun-if-changed=build.rs");
    let (out, dir) = (std::env::var("OUT_DIR").unwrap(), std::env::var("CARGO_MANIFEST_DIR").unwrap());
    let _ = &dir;
    std::fs::write(format!("{{out}}/data.txt"), "in out").unwrap();
    let body = format!("pub fn made() -> &'static str {{{{ {GENERATES[how]} }}}}\\n");
    std::fs::write(format!("{{out}}/made.rs"), body).unwrap();
}}
"""
    main = 'include!(concat!(env!("OUT_DIR"), "/made.rs"));\nfn main() { println!("{}", made()); }\n'
    for name, word in (("a", "one"), ("second/place", "two"), ("third", "one")):
        part = f'pub fn say() -> &\'static str {{ "{word}" }}\n'
        files = {"Cargo.toml": manifest("app"), "build.rs": script, "src/main.rs": main}
        checkout = box.checkout(name, alone(files | {"data.txt": word, "part.rs": part}))
        checkout.build()
        assert prints(checkout, "app") == ("in out\n" if how == "beside it" else f"{word}\n")
        checkout.clean().build().expect(hits=2, misses=0)
        if how != "beside it":
            checkout.edit("part.rs" if "module" in how else "data.txt", word, "three")
            checkout.build().expect(misses=1)
            assert prints(checkout, "app") == "three\n"


def test_a_build_script_that_was_edited_and_edited_back(box: Sandbox) -> None:
    """Guards build scripts as programs: the old one comes back from the store and cargo runs it."""
    files, _ = scripted("a file", "a file in OUT_DIR", "one")
    checkout = box.checkout("a", files)
    checkout.build().expect(misses=2)
    checkout.edit("build.rs", "&words", '"other"')
    checkout.build().expect(misses=2, hits=0)
    assert prints(checkout, "app") == "other\n"
    checkout.edit("build.rs", '"other"', "&words")
    checkout.build().expect(hits=2, misses=0)
    assert prints(checkout, "app") == "one\n"
    checkout.fresh()


def test_a_macro_that_names_a_file_for_rustc(box: Sandbox) -> None:
    """Guards macros that expand to `include_str!`: rustc reads the file, so it is known, in every checkout."""
    macro = """use proc_macro::TokenStream;

#[proc_macro]
pub fn text(_: TokenStream) -> TokenStream {
    r#"include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/text.txt"))"#.parse().unwrap()
}
"""
    for name, word in (("a", "one"), ("second", "two"), ("third", "one")):
        files = {
            **workspace("macros", "app"),
            **below("macros", {"Cargo.toml": PROC_MACRO, "src/lib.rs": macro}),
            **below(
                "app",
                {
                    "Cargo.toml": manifest("app", deps={"macros": "../macros"}),
                    "text.txt": word,
                    "src/main.rs": 'fn main() { println!("{}", macros::text!()); }\n',
                },
            ),
        }
        checkout = box.checkout(name, files)
        checkout.build()
        assert prints(checkout, "app") == f"{word}\n"
        checkout.edit("app/text.txt", word, "three")
        checkout.build()
        assert prints(checkout, "app") == "three\n"
