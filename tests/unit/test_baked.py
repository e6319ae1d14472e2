"""Does a variable's path only say where to include from?"""

from __future__ import annotations

from pathlib import Path

import pytest

from kache.compilers.rustc.baked import Mentions

INCLUDE = 'include!(concat!(env!("OUT_DIR"), "/x.rs"));\n'
# name: (own source, macros' source, whether it only includes)
CASES: dict[str, tuple[str, str, bool]] = {
    "no mention": ("", "", False),
    "an include": (INCLUDE, "", True),
    "two": (INCLUDE + 'const X: &str = include_str! [ env! ("OUT_DIR") ];', "", True),
    "an include and more": (INCLUDE + 'const N: usize = env!("OUT_DIR").len();', "", False),
    "a macro of its own": ('m!("OUT_DIR");', "", False),
    "not include": ('not_include!(env!("OUT_DIR"));', "", False),
    "another variable": (INCLUDE + 'const N: &str = env!("OUT_DIRECTORY");', "", True),
    "put together": ('const N: &str = env!(concat!("OUT", "_DIR"));', "", False),
    "put together beside": (INCLUDE + "const N: &str = env!( stringify!(OUT_DIR));", "", False),
    "a macro elsewhere that includes": ("", f"macro_rules! m {{\n    () => {{ {INCLUDE} }};\n}}\n", True),
    "a macro elsewhere that bakes in": (INCLUDE, 'macro_rules! m { () => { env!("OUT_DIR") } }\n', False),
    "option_env elsewhere": (INCLUDE, 'macro_rules! m { () => { option_env!("OUT_DIR") } }\n', False),
    "what the other does for itself": (
        INCLUDE,
        'macro_rules! m {\n    () => {};\n}\nconst HERE: &str = env!("OUT_DIR");\n',
        True,
    ),
    "an inner macro": (
        INCLUDE,
        'mod x {\n    macro_rules! m {\n        () => {\n            env!("OUT_DIR")\n        };\n    }\n}\n',
        False,
    ),
    "a procedural macro": (INCLUDE, 'use proc_macro::TokenStream;\nconst X: &str = "env!(\\"OUT_DIR\\")";\n', True),
    "a quoted one": (INCLUDE, 'extern crate proc_macro2;\nfn f() { quote! { env!("OUT_DIR") } }\n', False),
    "asked for at run time": (INCLUDE, 'fn f() { std::env::var("OUT_DIR").unwrap(); }\n', True),
}


@pytest.mark.parametrize("name", CASES)
def test_mentions(tmp_path: Path, name: str) -> None:
    own, macros, expected = CASES[name]
    (tmp_path / "own.rs").write_text(own)
    (tmp_path / "macros.rs").write_text(macros)
    mentions = Mentions(b"OUT_DIR")
    mentions.add_own([bytes(tmp_path / "own.rs")])
    mentions.add_macros([bytes(tmp_path / "macros.rs")])
    assert mentions.only_includes is expected
