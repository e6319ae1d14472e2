"""Warm start where settings differ, and where scripts write their lines oddly."""

from __future__ import annotations

import pytest

from tests.e2e.test_warm_start_traps import placed, program
from tests.support.projects import Files, alone, below, manifest, workspace
from tests.support.registry import LocalRegistry
from tests.support.sandbox import Sandbox

ON_A_PACKAGE = {
    "Cargo.toml": manifest("prog") + 'depx = "1"\n',
    "src/main.rs": 'fn main() { println!("{}", depx::place()); }\n',
}
MACRO = """use proc_macro::TokenStream;

#[proc_macro]
pub fn told(_: TokenStream) -> TokenStream {
    let directory = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    std::fs::read_to_string(format!("{directory}/data")).unwrap().parse().unwrap()
}
"""


@pytest.fixture
def still_box(warm_box: Sandbox) -> Sandbox:
    """A box where nothing is made ready for edits behind a build."""
    warm_box.settings["CARGO_INCREMENTAL"] = "0"
    return warm_box


def test_who_wants_real_paths_is_lent_none_that_were_remapped(still_box: Sandbox) -> None:
    """Guards `remap = false`: a unit with stable names for paths in it is for those who want them."""
    registry = LocalRegistry(still_box.root / "registry")
    source = "pub fn place() -> &'static str { file!() }\n"
    package = manifest("depx").replace("0.1.0", "1.0.0")
    registry.publish("depx", {"Cargo.toml": package, "src/lib.rs": source})
    registry.serve(still_box.cargo_home)
    still_box.checkout("a", alone(ON_A_PACKAGE)).build()
    real = still_box.checkout("b", alone(ON_A_PACKAGE))
    assert not placed(real, "build", env={"KACHE_REMAP": "0"})
    assert real.program("prog").startswith(str(still_box.cargo_home))
    assert placed(still_box.checkout("c", alone(ON_A_PACKAGE)), "build")


def reading(number: int) -> Files:
    """A program whose macro reads a file that it tells nobody of."""
    macro = {"Cargo.toml": manifest("mac", extra="[lib]\nproc-macro = true"), "src/lib.rs": MACRO}
    user = {"Cargo.toml": manifest("prog", deps={"mac": "../mac"}), "data": str(number)}
    user["src/main.rs"] = 'fn main() { println!("{}", mac::told!()); }\n'
    return {**workspace("mac", "prog"), **below("mac", macro), **below("prog", user)}


def test_what_was_not_observed_is_not_lent_to_those_who_observe(still_box: Sandbox) -> None:
    """Guards `observe`: of a unit made without it nobody knows what its macros read."""
    still_box.checkout("a", reading(1)).build(env={"KACHE_OBSERVE": "0"})
    second = still_box.checkout("b", reading(2))
    second.build()
    assert second.program("prog") == "2\n"


def test_runs_that_were_believed_are_for_those_who_believe(still_box: Sandbox) -> None:
    """Guards `warm_start_scripts`: without it a script of the checkout runs again, whoever kept a run of it."""
    script = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=SAID={}", std::fs::read_to_string("data").unwrap());
}
"""
    for name, how in (("a", "declared"), ("b", "packages")):
        files = program('println!("{}", env!("SAID"));', build=script, data=name)
        checkout = still_box.checkout(name, files)
        checkout.build(env={"KACHE_WARM_START_SCRIPTS": how})
        assert checkout.program("prog") == f"{name}\n"


def test_what_a_script_says_with_space_around_it_counts(still_box: Sandbox) -> None:
    """Guards lines for cargo that begin with spaces: cargo takes them, so they tell one run from another."""
    still_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    script = """fn main() {
    println!("cargo:rerun-if-changed=data\\n\\u{a0} cargo:rustc-check-cfg=cfg(foo)");
    if std::fs::read_to_string("data").unwrap() == "yes" { println!("  cargo:rustc-cfg=foo"); }
}
"""
    checkouts = {
        data: still_box.checkout(data, program('println!("{}", cfg!(foo));', build=script, data=data))
        for data in ("no", "yes")
    }
    for checkout in checkouts.values():
        checkout.build()
    for data, checkout in checkouts.items():
        checkout.clean().build()
        assert checkout.program("prog") == f"{str(data == 'yes').lower()}\n"


def test_a_package_that_was_edited_where_it_was_unpacked_runs_its_script_again(still_box: Sandbox) -> None:
    """Guards people who look into a package by editing it: a fresh target shows what they did, declared or not."""
    script = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-env=SAID={}", std::fs::read_to_string("data").unwrap());
}
"""
    registry = LocalRegistry(still_box.root / "registry")
    package = {"Cargo.toml": manifest("depx").replace("0.1.0", "1.0.0"), "build.rs": script, "data": "as published"}
    source = 'pub fn place() -> &\'static str { env!("SAID") }\n'
    registry.publish("depx", {**package, "src/lib.rs": source})
    registry.serve(still_box.cargo_home)
    first = still_box.checkout("a", alone(ON_A_PACKAGE))
    first.build()
    assert "build-script-run" in placed(first.clean(), "build")
    (unpacked,) = still_box.cargo_home.glob("registry/src/*/depx-1.0.0")
    (unpacked / "data").write_text("edited")
    assert "build-script-run" not in placed(first.clean(), "build")
    assert first.program("prog") == "edited\n"


@pytest.mark.parametrize("what", ["asks", "names"])
def test_what_a_manifest_says_of_a_package_is_this_checkouts(still_box: Sandbox, what: str) -> None:
    """Guards `about` and its like: macros ask for the description, of which cargo has no hash; cargo tracks `env!`."""
    asks = 'format!("{:?}", std::env::var("CARGO_PKG_DESCRIPTION").unwrap()).parse().unwrap()'
    body = asks if what == "asks" else """r#"env!("CARGO_PKG_DESCRIPTION")"#.parse().unwrap()"""
    macro = f"#[proc_macro]\npub fn told(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{ {body} }}\n"
    for number, description in enumerate(("one", "two", "one")):
        user = manifest("prog", deps={"mac": "../mac"}, description=f'"{description}"')
        files = {
            **workspace("mac", "prog"),
            **below("mac", {"Cargo.toml": manifest("mac", extra="[lib]\nproc-macro = true"), "src/lib.rs": macro}),
            **below("prog", {"Cargo.toml": user, "src/main.rs": 'fn main() { println!("{}", mac::told!()); }\n'}),
        }
        checkout = still_box.checkout(str(number), files)
        checkout.build()
        assert checkout.program("prog") == f"{description}\n"
