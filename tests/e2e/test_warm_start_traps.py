"""Warm start where a unit that looks as if it fitted does not: what cargo does not compare is compared for it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.checkout import Checkout
from tests.support.projects import Files, alone, below, chain, hello, lib, manifest, workspace
from tests.support.registry import LocalRegistry
from tests.support.sandbox import KACHE, Sandbox, host_triple

needs_c = pytest.mark.skipif(shutil.which("ar") is None or shutil.which("cc") is None, reason="needs cc and ar")


@pytest.fixture
def still_box(warm_box: Sandbox) -> Sandbox:
    """A box where nothing is made ready for edits behind a build."""
    warm_box.settings["CARGO_INCREMENTAL"] = "0"
    return warm_box


def program(text: str, **more: str) -> Files:
    """A package `prog` with one program; `build` among the further files is its build script."""
    files = {"Cargo.toml": manifest("prog"), "src/main.rs": f"fn main() {{ {text} }}\n"}
    if "build" in more:
        files["build.rs"] = more.pop("build")
    return alone(files | more)


def below_a_package(box: Sandbox, script: str, source: str, *, user: str, links: str = "", own: str = "") -> Files:
    """A program, with a build script `own`, on a crate `depx` of a registry that has a build script as well."""
    registry = LocalRegistry(box.root / "registry")
    package = manifest("depx").replace("0.1.0", "1.0.0")
    if links:
        package = package.replace("[package]", f'[package]\nlinks = "{links}"')
    registry.publish("depx", {"Cargo.toml": package, "build.rs": script, "src/lib.rs": source})
    registry.serve(box.cargo_home)
    files = {"Cargo.toml": manifest("prog") + 'depx = "1"\n', "src/main.rs": f"fn main() {{ {user} }}\n"}
    return alone(files | ({"build.rs": own} if own else {}))


def archive(directory: Path, number: int) -> None:
    """Make a static library whose `v` gives a number."""
    directory.mkdir(exist_ok=True)
    (directory / "v.c").write_text(f"int v(void) {{ return {number}; }}\n")
    subprocess.run(["cc", "-c", "v.c", "-o", "v.o"], cwd=directory, check=True)
    (directory / "libv.a").unlink(missing_ok=True)
    subprocess.run(["ar", "rcs", "libv.a", "v.o"], cwd=directory, check=True)


def shared_library(directory: Path, name: str, number: int) -> None:
    """Make a shared library whose `v` gives a number."""
    directory.mkdir()
    (directory / "v.c").write_text(f"int v(void) {{ return {number}; }}\n")
    subprocess.run(["cc", "-shared", "-fPIC", "v.c", "-o", f"lib{name}.so"], cwd=directory, check=True)


def placed(checkout: Checkout, *words: str, env: dict[str, str] | None = None) -> list[str]:
    """Run cargo, and give the kinds of what was in place before it asked."""
    return [call.kind for call in checkout.cargo(*words, env=env).calls.all if call.outcome == "seeded"]


def test_two_builds_in_a_row_are_not_taken_for_one(warm_box: Sandbox) -> None:
    """Guards what is kept of a build against the next one, which writes its dep-info before the first is looked at."""
    for number in range(2):
        files = lib('pub fn v() -> u8 { include_bytes!("x.txt")[0] }\n')
        files |= {"src/x.txt": "1", "examples/e.rs": 'fn main() { println!("{}", thing::v()); }\n'}
        files["Cargo.toml"] = files["Cargo.toml"].replace("0.1.0", f"0.1.{number}")
        first = warm_box.checkout(f"a{number}", files)
        first.build(count=False)
        first.edit("src/lib.rs", 'include_bytes!("x.txt")[0]', 'b"1"[0]                  ')
        first.build()
        second = warm_box.checkout(f"b{number}", files)
        second.build()
        second.edit("src/x.txt", "1", "9")
        assert second.run("--example", "e") == "57\n"


@pytest.mark.parametrize("what", ["the script", "what it declared"])
def test_a_run_fits_the_script_and_what_it_declared(still_box: Sandbox, what: str) -> None:
    """Guards a program against the run of another checkout's build script, whose flags are in no hash of cargo's."""
    still_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    begin = 'println!("cargo:rerun-if-changed=data"); println!("cargo:rustc-check-cfg=cfg(foo)");'
    says = 'println!("cargo:rustc-cfg=foo");'
    reads = f'if std::fs::read_to_string("data").unwrap() == "data" {{ {says} }}'
    wanted = {"with": "foo\n", "without": "none\n"}
    bodies = dict.fromkeys(wanted, reads)
    data = {"with": "data", "without": "other"}
    if what == "the script":
        bodies = {"with": says, "without": 'println!("cargo:rustc-env=UNUSED=1");'}
        data = dict.fromkeys(wanted, "data")
    checkouts = {
        name: still_box.checkout(
            name,
            program(
                'println!("{}", if cfg!(foo) { "foo" } else { "none" });',
                build=f"fn main() {{ {begin} {bodies[name]} }}\n",
                data=data[name],
            ),
        )
        for name in wanted
    }
    for name, checkout in checkouts.items():
        checkout.build()
        assert checkout.program("prog") == wanted[name]
    for name, checkout in checkouts.items():
        checkout.clean().build()
        assert checkout.program("prog") == wanted[name]
        checkout.fresh()


def test_a_crate_fits_the_run_of_its_packages_script(still_box: Sandbox) -> None:
    """Guards a package's crate whose script sets a cfg by a file of the machine that changes and changes back."""
    header = still_box.root / "q.h"
    script = f"""fn main() {{
    println!("cargo:rerun-if-changed={header}");
    println!("cargo:rustc-check-cfg=cfg(new)");
    if std::fs::read_to_string("{header}").unwrap() == "2" {{ println!("cargo:rustc-cfg=new"); }}
}}
"""
    source = "pub fn number() -> u32 { if cfg!(new) { 2 } else { 1 } }\n"
    files = below_a_package(still_box, script, source, user='println!("{}", depx::number());')
    checkout = still_box.checkout("a", files)
    for number in "12121":
        header.write_text(number)
        checkout.clean().build()
        assert checkout.program("prog") == f"{number}\n"


def test_a_shared_target_directory_fits_one_checkout_at_a_time(still_box: Sandbox) -> None:
    """Guards checkouts that take turns in one target directory: a path baked in is of the checkout, not the target."""
    env = {"CARGO_TARGET_DIR": str(still_box.root / "t")}
    for name in ("a", "b"):
        checkout = still_box.checkout(name, program('println!("{}", env!("CARGO_MANIFEST_DIR"));'))
        shutil.rmtree(still_box.root / "t", ignore_errors=True)
        checkout.build(env=env)
        assert checkout.run(env=env) == f"{checkout.path}\n"


def test_a_macro_that_names_a_file_of_its_checkout_stays_there(still_box: Sandbox) -> None:
    """Guards `include_str!` that a macro gives an absolute path: an edit of this checkout's file counts."""
    files = {
        **workspace("macros", "app"),
        **below(
            "macros",
            {
                "Cargo.toml": manifest("macros", extra="[lib]\nproc-macro = true"),
                "src/lib.rs": """use proc_macro::TokenStream;

#[proc_macro]
pub fn text(_: TokenStream) -> TokenStream {
    let path = std::fs::canonicalize("words/t.txt").unwrap();
    format!("include_str!({path:?})").parse().unwrap()
}
""",
            },
        ),
        **below(
            "app",
            {
                "Cargo.toml": manifest("app", deps={"macros": "../macros"}),
                "src/main.rs": 'fn main() { println!("{}", macros::text!()); }\n',
            },
        ),
        "words/t.txt": "one",
    }
    first = still_box.checkout("a", files)
    first.build()
    second = still_box.checkout("b", files)
    second.build()
    assert second.program("app") == "one\n"
    second.fresh()
    second.edit("words/t.txt", "one", "three")
    assert second.run() == "three\n"
    third = still_box.checkout("c", files | {"words/t.txt": "two"})
    first.edit("words/t.txt", "one", "four")
    third.build()
    assert third.program("app") == "two\n"


_LINKED = '#[link(name = "v")]\nextern "C" { fn v() -> i32; }\n'


@needs_c
def test_a_profile_is_placed_when_it_is_asked_for(still_box: Sandbox) -> None:
    """Guards native libraries between two commands: a profile placed with another would not see them change."""
    files = program(
        'println!("{}", unsafe { v() });',
        **{".cargo/config.toml": '[build]\nrustflags = ["-L", "native=nat"]\n'},
    )
    files["src/main.rs"] = (
        '#[link(name = "v", kind = "static")]\nextern "C" { fn v() -> i32; }\n' + files["src/main.rs"]
    )
    checkout = still_box.checkout("a", files)
    archive(checkout.path / "nat", 1)
    checkout.build()
    checkout.build("--release")
    checkout.clean().build()
    archive(checkout.path / "nat", 2)
    assert checkout.run("--release") == "2\n" == checkout.plain("run", "--quiet", "--release").stdout


def test_without_rustc_bootstrap_unstable_features_are_refused(still_box: Sandbox) -> None:
    """Guards an error that plain cargo reports: what RUSTC_BOOTSTRAP allowed is not put where it is not set."""
    files = program('println!("ok");')
    files["src/main.rs"] = "#![feature(never_type)]\n" + files["src/main.rs"]
    checkout = still_box.checkout("a", files)
    checkout.build(env={"RUSTC_BOOTSTRAP": "1"})
    told = checkout.clean().build(fails=True)
    assert "E0554" in told.stderr and "E0554" in checkout.plain("build", fails=True).stderr
    assert placed(checkout.clean(), "build", env={"RUSTC_BOOTSTRAP": "1"}) == []  # the next command may be without it


@needs_c
def test_a_program_fits_the_linkers_library_path(still_box: Sandbox) -> None:
    """Guards LIBRARY_PATH, by which the linker finds what cargo never hears of."""
    files = program('println!("{}", unsafe { v() });')
    files["src/main.rs"] = _LINKED + files["src/main.rs"]
    checkout = still_box.checkout("a", files)
    for number in (1, 2):
        archive(still_box.root / f"d{number}", number)
    for number in (1, 2, 1):
        checkout.clean().build(env={"LIBRARY_PATH": str(still_box.root / f"d{number}")})
        assert checkout.program("prog") == f"{number}\n"


def test_a_package_that_is_asked_for_is_not_placed_as_a_dependency(still_box: Sandbox) -> None:
    """Guards CARGO_PRIMARY_PACKAGE, which a crate can read and which says how the command was given."""
    files = {
        **workspace("leaf", "app"),
        **below(
            "leaf",
            {
                "Cargo.toml": manifest("leaf"),
                "src/lib.rs": 'pub const P: Option<&str> = option_env!("CARGO_PRIMARY_PACKAGE");\n',
            },
        ),
        **below(
            "app",
            {
                "Cargo.toml": manifest("app", deps={"leaf": "../leaf"}),
                "src/main.rs": 'fn main() { println!("{:?}", leaf::P); }\n',
            },
        ),
    }
    checkout = still_box.checkout("a", files)
    checkout.build()
    checkout.clean().build("-p", "app")
    assert checkout.program("app") == "None\n" == checkout.plain("run", "-q", "-p", "app").stdout


def test_the_directory_for_tests_files_is_there(still_box: Sandbox) -> None:
    """Guards CARGO_TARGET_TMPDIR, which cargo makes only where it compiles a test."""
    files = program("", **{"tests/t.rs": _WRITES})
    checkout = still_box.checkout("a", files)
    checkout.test("--test", "t")
    assert placed(checkout.clean(), "test", "--test", "t")
    assert (checkout.target / "tmp" / "x").read_text() == "hi"


_WRITES = """#[test]
fn writes() { std::fs::write(concat!(env!("CARGO_TARGET_TMPDIR"), "/x"), "hi").unwrap(); }
"""


@pytest.mark.parametrize("what", ["an empty directory", "a read-only file"])
def test_what_a_packages_script_left_is_there_as_it_left_it(still_box: Sandbox, what: str) -> None:
    """Guards OUT_DIR of a package: empty directories and modes in it are as they were, or the script runs again."""
    makes = """let empty = format!("{out}/kept");
    std::fs::create_dir_all(empty).unwrap();"""
    if what == "a read-only file":
        makes = """let file = format!("{out}/kept");
    let _ = std::fs::remove_file(&file);
    std::fs::write(&file, "x").unwrap();
    let mut permissions = std::fs::metadata(&file).unwrap().permissions();
    permissions.set_readonly(true);
    std::fs::set_permissions(&file, permissions).unwrap();"""
    script = f"""fn main() {{
    let out = std::env::var("OUT_DIR").unwrap();
    {makes}
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:root={{out}}");
}}
"""
    user = """fn main() {
    let root = std::env::var("DEP_DEPX_ROOT").unwrap();
    std::fs::metadata(format!("{root}/kept")).expect("what the package made");
}
"""
    files = below_a_package(still_box, script, "", user="", links="depx", own=user)
    checkout = still_box.checkout("a", files)
    checkout.build()
    left = _out_of("depx", checkout)
    assert "build-script" in placed(checkout.clean(), "build")
    assert _out_of("depx", checkout) == left
    with checkout._target_aside():
        checkout.cargo("build", env={"RUSTC_WRAPPER": ""}, count=False)
        assert _out_of("depx", checkout) == left
    checkout.fresh()


def _out_of(package: str, checkout: Checkout) -> dict[str, int]:
    """What is in a package's OUT_DIR, with modes."""
    (out,) = checkout.target.glob(f"debug/build/{package}-*/out")
    return {path.name: path.stat().st_mode for path in out.rglob("*")}


@needs_c
def test_a_library_that_a_packages_script_found_must_be_there(still_box: Sandbox) -> None:
    """Guards links against a library of the machine that a package's script found and that is gone."""
    place = still_box.root / "sys"
    shared_library(place, "qq", 2)
    script = f"""fn main() {{
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(found)");
    if std::path::Path::new("{place}/libqq.so").exists() {{
        println!("cargo:rustc-link-search=native={place}");
        println!("cargo:rustc-link-lib=qq");
        println!("cargo:rustc-cfg=found");
    }}
}}
"""
    source = """#[cfg(found)]
extern "C" { fn v() -> i32; }
#[cfg(found)]
pub fn number() -> i32 { unsafe { v() } }
#[cfg(not(found))]
pub fn number() -> i32 { 1 }
"""
    files = below_a_package(still_box, script, source, user='println!("{}", depx::number());')
    checkout = still_box.checkout("a", files)
    assert checkout.run(env={"LD_LIBRARY_PATH": str(place)}) == "2\n"
    still_box.calls()
    shutil.rmtree(place)
    checkout.clean().build()
    assert checkout.program("prog") == "1\n" == checkout.plain("run", "--quiet").stdout


@pytest.mark.parametrize("umask", [0o022, 0o027], ids=["022", "027"])
def test_a_target_has_the_modes_that_cargo_gives(still_box: Sandbox, umask: int) -> None:
    """Guards who may read a target: files and directories that were placed have the modes of those that cargo makes."""
    checkout = still_box.checkout("a", chain())
    checkout.build()
    with _umask(umask):
        assert placed(checkout.clean(), "build")
        ours = _modes(checkout)
        with checkout._target_aside():
            checkout.cargo("build", env={"RUSTC_WRAPPER": ""}, count=False)
            assert _modes(checkout) == ours


@contextmanager
def _umask(umask: int) -> Iterator[None]:
    before = os.umask(umask)
    try:
        yield
    finally:
        os.umask(before)


def _modes(checkout: Checkout) -> dict[str, str]:
    """Of every file and directory in the target directory, but for two files of cargo's that are about its own runs."""
    found = [checkout.target, *checkout.target.rglob("*")]
    found = [path for path in found if path.name not in ("invoked.timestamp", ".rustc_info.json")]
    return {str(path.relative_to(checkout.target)): stat.filemode(path.lstat().st_mode) for path in found}


def test_messages_come_in_the_format_that_is_asked_for(still_box: Sandbox) -> None:
    """Guards `--message-format short`: cargo tells again, as it stands, what was told when the unit was made."""
    files = program("let unused = 1;")
    checkout = still_box.checkout("a", files)
    checkout.build()
    for words in (("build", "--message-format", "short"), ("build",), ("build", "--message-format=short")):
        told = checkout.clean().cargo(*words)
        plain = checkout.plain(*words)
        assert "unused" in told.stderr and told.messages == plain.messages


@pytest.mark.parametrize("words", [("build", "--bogus"), ("build", "--help")], ids=" ".join)
def test_a_command_that_builds_nothing_leaves_no_target(still_box: Sandbox, words: tuple[str, ...]) -> None:
    """Guards `kache cargo` with a mistake or a question: there is nothing to place for it, and no target directory."""
    checkout = still_box.checkout("a", hello())
    checkout.build()
    plain, ours = (
        subprocess.run(
            [*front, *words],
            cwd=checkout.clean().path,
            env=still_box.env({"RUSTC_WRAPPER": ""}),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        for front in (["cargo"], [str(KACHE), "cargo"])
    )
    assert ours.returncode == plain.returncode
    assert not checkout.target.exists()


def test_a_target_triple_has_the_directories_that_cargo_makes(still_box: Sandbox) -> None:
    """Guards backup tools and `cargo clean`: a triple's directory is tagged as cargo tags it."""
    checkout = still_box.checkout("a", chain())
    words = ("build", "--target", host_triple())
    checkout.cargo(*words)
    assert placed(checkout.clean(), *words)
    ours = set(_modes(checkout))
    with checkout._target_aside():
        checkout.cargo(*words, env={"RUSTC_WRAPPER": ""}, count=False)
        assert set(_modes(checkout)) == ours
