"""Warm start and moments: what changes while a build runs, or between two commands, and what a script leaves behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kache.engine.warm_start.strays import first_stray
from tests.e2e.test_warm_start_traps import archive, below_a_package, needs_c, placed, program, still_box
from tests.support.projects import Files, below, everything, manifest, workspace
from tests.support.sandbox import Sandbox, host_triple

__all__ = ["still_box"]

_READS = """fn main() {{
    println!("cargo:rerun-if-changed={header}");
    println!("cargo:rustc-env=DATA={{}}", std::fs::read_to_string("{header}").unwrap());
}}
"""


def test_a_run_is_kept_with_what_it_read_not_with_what_was_there_afterwards(still_box: Sandbox) -> None:
    """Guards a file that a package's script declared and that was edited before the build had ended."""
    header, mark = still_box.root / "q.h", still_box.root / "edit-now"
    header.write_text("one")
    mark.write_text("")
    edits = f"""fn main() {{
    println!("cargo:rerun-if-changed=build.rs");
    if std::fs::remove_file("{mark}").is_ok() {{ std::fs::write("{header}", "two").unwrap(); }}
}}
"""
    source = 'pub const DATA: &str = env!("DATA");\n'
    user = 'println!("{}", depx::DATA);'
    script = _READS.format(header=header)
    files = below_a_package(still_box, script, source, user=user, links="depx", own=edits)
    checkout = still_box.checkout("a", files)
    checkout.build()
    assert header.read_text() == "two" and checkout.program("prog") == "one\n"
    assert "build-script-run" not in placed(checkout.clean(), "build")
    assert checkout.program("prog") == "two\n"
    assert "build-script-run" in placed(checkout.clean(), "build")  # what cargo ran itself is kept for the next target
    assert checkout.program("prog") == "two\n"


_BESIDE = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=AGAIN");
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR").unwrap());
    let beside = out.ancestors().nth(4).unwrap().join("PLACE");
    std::fs::create_dir_all(beside.parent().unwrap()).unwrap();
    if !beside.exists() { std::fs::write(beside, "needed").unwrap(); }
}
"""


@pytest.mark.parametrize(
    "place",
    [
        "debug/runtime.dat",
        "debug/build/shared/x",
        "debug/x.d/x",
        "debug/x.d",
        "debug/deps/x-0123456789abcdef.dat",
        "x/y/z",
    ],
)
def test_what_a_packages_script_wrote_beside_its_directory_is_there(still_box: Sandbox, place: str) -> None:
    """Guards libraries and data that scripts copy beside the program: such a script runs again, also if it need not."""
    script = _BESIDE.replace("PLACE", place)
    files = below_a_package(still_box, script, "pub fn nothing() {}\n", user="depx::nothing();")
    checkout = still_box.checkout("a", files)
    checkout.build()
    beside = checkout.target / place
    with beside.open("a") as file:  # a program may go on writing to it
        file.write(" later")
    checkout.build(env={"AGAIN": "1"})
    for env in ({}, {"AGAIN": "1"}):
        assert "build-script-run" not in placed(checkout.clean(), "build", env=env)
        assert beside.read_text() == "needed"


def test_targets_of_every_kind_are_no_sign_of_a_script(still_box: Sandbox) -> None:
    """Guards the rule about files beside OUT_DIR against itself: what cargo and rustc leave counts for nothing."""
    still_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    checkout = still_box.checkout("a", everything())
    triple = ("--target", host_triple())
    for words in (("build",), ("test",), ("build", "--examples"), ("doc",), ("build", *triple), ("build", "--release")):
        checkout.cargo(*words)
    assert first_stray(bytes(checkout.target), {b"libboth.so", b"libboth.rlib"}) is None
    assert "build-script-run" in placed(checkout.clean(), "build")


def test_a_run_fits_the_files_of_the_run_below_it(still_box: Sandbox) -> None:
    """Guards headers that one package's script lays out and another's reads: what was told is alike, files are not."""
    header = still_box.root / "header"
    below_it = """fn main() {
    println!("cargo:rerun-if-changed={HEADER}");
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::copy("{HEADER}", format!("{out}/h")).unwrap();
    println!("cargo:root={out}");
}
""".replace("{HEADER}", str(header))
    above = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let root = std::env::var("DEP_BELOW_ROOT").unwrap();
    println!("cargo:rustc-env=H={}", std::fs::read_to_string(format!("{root}/h")).unwrap());
}
"""
    files = {
        **program('println!("{}", above::H);'),
        **below(
            "belowit",
            {"Cargo.toml": manifest("belowit", links='"below"'), "build.rs": below_it, "src/lib.rs": ""},
        ),
        **below(
            "above",
            {
                "Cargo.toml": manifest("above", deps={"belowit": "../belowit"}),
                "build.rs": above,
                "src/lib.rs": 'pub const H: &str = env!("H");\n',
            },
        ),
    }
    files["Cargo.toml"] = manifest("prog", deps={"above": "above"}) + "\n[workspace]\n"
    still_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    checkout = still_box.checkout("a", files)
    for text in ("one", "two", "one", "two"):
        header.write_text(text)
        checkout.clean().build()
        assert checkout.program("prog") == f"{text}\n"


def natives(where: str) -> Files:
    """A workspace of `first`, and of `second` with a static library in a directory that cargo does not know of."""
    linked = '#[link(name = "v", kind = "static")]\nextern "C" { fn v() -> i32; }\n'
    return {
        **workspace("first", "second"),
        ".cargo/config.toml": '[build]\nrustflags = ["-L", "native=WHERE"]\n'.replace("WHERE", where),
        **below("first", {"Cargo.toml": manifest("first"), "src/main.rs": "fn main() {}\n"}),
        **below(
            "second",
            {
                "Cargo.toml": manifest("second"),
                "src/main.rs": linked + 'fn main() { println!("{}", unsafe { v() }); }\n',
            },
        ),
    }


@needs_c
@pytest.mark.parametrize("place", ["a/nat", "beside"])
@pytest.mark.parametrize("words", [("-p", "first"), ("-p", "nosuch")])
def test_what_the_next_command_asks_for_is_of_its_own_moment(
    still_box: Sandbox, words: tuple[str, ...], place: str
) -> None:
    """Guards native libraries between two commands, of which the first builds something else, or fails."""
    libraries = still_box.root / place
    checkout = still_box.checkout("a", natives(str(libraries)))
    archive(libraries, 1)
    checkout.build()
    checkout.clean().build(*words, fails=words[-1] == "nosuch")
    archive(libraries, 2)
    checkout.build("-p", "second")
    assert checkout.program("second") == "2\n"


_LOOKS = {
    "lists": 'std::fs::read_dir("app/migrations").unwrap().count().to_string()',
    "looks for in vain": 'std::fs::read_to_string("app/.env").unwrap_or("1".into())',
    "finds elsewhere": 'std::fs::read_to_string("ELSEWHERE").unwrap()',
    "finds beside a source of nearly that name": 'std::fs::read_to_string("app/src/data").unwrap()',
}


@pytest.mark.parametrize("what", _LOOKS)
def test_what_a_macro_looks_at_is_of_the_moment_its_crate_is_asked_for(still_box: Sandbox, what: str) -> None:
    """Guards migrations and `.env` between the first check in a fresh target and the build: cargo hears of neither."""
    elsewhere = still_box.root / "elsewhere"
    elsewhere.write_text("1")
    body = _LOOKS[what].replace("ELSEWHERE", str(elsewhere)) + ".parse().unwrap()"
    macro = f"#[proc_macro]\npub fn seen(_: proc_macro::TokenStream) -> proc_macro::TokenStream {{ {body} }}\n"
    files = {
        **workspace("macros", "app"),
        **below(
            "macros",
            {"Cargo.toml": manifest("macros", extra="[lib]\nproc-macro = true"), "src/lib.rs": macro},
        ),
        **below(
            "app",
            {
                "Cargo.toml": manifest("app", deps={"macros": "../macros"}),
                "src/lib.rs": "mod data_base;\npub const SEEN: u32 = macros::seen!();\n",
                "src/data_base.rs": "",
                "src/data": "1",
                "src/main.rs": 'fn main() { println!("{}", app::SEEN); }\n',
                "migrations/1": "",
            },
        ),
    }
    first = still_box.checkout("a", files)
    first.check()
    first.build()
    second = still_box.checkout("b", files)
    assert placed(second, "check")
    elsewhere.write_text("2")
    for name in ("app/migrations/2", "app/.env", "app/src/data"):
        second.write(name, "2")
    second.build()
    assert second.program("app") == "2\n"


def test_a_link_in_a_declared_directory_counts_by_what_it_leads_to(still_box: Sandbox) -> None:
    """Guards `rerun-if-changed` of a directory with a symbolic link: cargo follows it, and so does what is compared."""
    still_box.settings["KACHE_WARM_START_SCRIPTS"] = "declared"
    script = (
        'fn main() { println!("cargo:rerun-if-changed=data");'
        ' println!("cargo:rustc-env=DATA={}", std::fs::read_to_string("data/link").unwrap()); }\n'
    )
    files = program('println!("{}", env!("DATA"));', build=script)
    for name, text in (("a", "one"), ("b", "two")):
        checkout = still_box.checkout(name, files | {"shared/text": text, "data/.keep": ""})
        (checkout.path / "data" / "link").symlink_to(Path("..", "shared", "text"))
        checkout.build()
        assert checkout.program("prog") == f"{text}\n"


def test_what_a_probe_left_behind_names_this_checkout(still_box: Sandbox) -> None:
    """Guards scripts that try the compiler: their dep-info holds paths, and is as a run here would have left it."""
    script = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").unwrap();
    let probe = std::process::Command::new(std::env::var("RUSTC").unwrap())
        .args(["--crate-name=probe", "--crate-type=lib", "--emit=dep-info", "--out-dir", &out, "src/lib.rs"]);
    assert!(probe.status().unwrap().success());
}
""".replace('"src/lib.rs"]);', '"src/lib.rs"]).status();').replace("probe.status()", "probe")
    files = below_a_package(still_box, script, "pub fn nothing() {}\n", user="depx::nothing();")
    first, second = still_box.checkout("a", files), still_box.checkout("b", files)
    first.build()
    assert "build-script-run" in placed(second, "build")
    (left,) = second.target.glob("debug/build/depx-*/out/probe.d")
    placed_text = left.read_text()
    assert str(second.path) in placed_text and str(first.path) not in placed_text
    second.fresh()
    second.plain("build", "--target-dir", "plain")
    (plain,) = second.path.glob("plain/debug/build/depx-*/out/probe.d")
    assert plain.read_text() == placed_text.replace("/target/debug/", "/plain/debug/")


@pytest.mark.parametrize(
    "config", ['[alias]\nb = "build --release"\n', 'include = ["more.toml"]\n'], ids=["alias", "include"]
)
def test_what_configuration_changes_is_left_to_cargo(still_box: Sandbox, config: str) -> None:
    """Guards short verbs with another meaning, and target directories named in files that a configuration includes."""
    files = program("") | {".cargo/config.toml": config, ".cargo/more.toml": '[build]\ntarget-dir = "other"\n'}
    checkout = still_box.checkout("a", files)
    checkout.cargo("build")
    checkout.cargo("b")
    shutil.rmtree(checkout.path / "target", ignore_errors=True)
    shutil.rmtree(checkout.path / "other", ignore_errors=True)
    checkout.cargo("b")
    expected = "target/release/prog" if "alias" in config else "other/debug/prog"
    found = {path.relative_to(checkout.path).as_posix() for path in checkout.path.glob("*/*/prog")}
    assert found == {expected}


@pytest.mark.parametrize("form", ["{}", "{:?}", "name"])
def test_a_workspace_that_a_packages_script_finds_is_the_one_it_runs_in(still_box: Sandbox, form: str) -> None:
    """Guards scripts that take the workspace from OUT_DIR and tell where it is, or what it is called."""
    shown = f'format!("{form}", ws)' if form != "name" else "ws.file_name().unwrap().to_str().unwrap()"
    ws = "let ws = std::path::Path::new(&out).ancestors().nth(5).unwrap();"
    value = shown if form == "name" else shown.replace(", ws)", ", ws.display().to_string())")
    script = f"""fn main() {{
    println!("cargo:rerun-if-changed=build.rs");
    let out = std::env::var("OUT_DIR").unwrap();
    {ws}
    println!("cargo:rustc-env=WS={{}}", {value});
}}
"""
    source = 'pub const WS: &str = env!("WS");\n'
    files = below_a_package(still_box, script, source, user='println!("{}", depx::WS);')
    for name in ("first-place", "second-place"):
        checkout = still_box.checkout(name, files)
        checkout.build()
        assert name in checkout.program("prog")
    assert "build-script-run" in placed(checkout.clean(), "build")


def test_what_a_script_wrote_into_its_own_package_is_there_when_that_is_unpacked_anew(still_box: Sandbox) -> None:
    """Guards packages whose script generates a source beside the others, in a CARGO_HOME that is new."""
    script = """fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    std::fs::write("src/made.rs", "pub const MADE: u8 = 7;").unwrap();
}
"""
    source = "mod made;\npub use made::MADE;\n"
    files = below_a_package(still_box, script, source, user='println!("{}", depx::MADE);')
    checkout = still_box.checkout("a", files)
    for _ in range(2):
        checkout.clean().build()
        assert checkout.program("prog") == "7\n"
        shutil.rmtree(still_box.cargo_home / "registry" / "src")
