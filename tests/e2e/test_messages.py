"""What people and editors read is what rustc says here without kache: on a miss, on a hit, with real paths."""

from __future__ import annotations

import pytest

from tests.support.checkout import Checkout
from tests.support.marks import mostly_daemon, slow
from tests.support.projects import Files, alone, lib, manifest, warns
from tests.support.sandbox import Sandbox

Env = dict[str, str]

FORMATS: dict[str, tuple[tuple[str, ...], Env]] = {
    "human": ((), {}),
    "coloured": ((), {"CARGO_TERM_COLOR": "always"}),
    "json": (("--message-format=json",), {}),
    "coloured json": (("--message-format=json-diagnostic-rendered-ansi",), {}),
    "short": (("--message-format=short",), {}),
    "short json": (("--message-format=json-diagnostic-short",), {}),
    "json with rendered on stderr": (("--message-format=json-render-diagnostics",), {}),
}


@pytest.mark.parametrize(
    "form",
    [pytest.param(n, marks=slow if n.startswith(("short json", "json with")) else ()) for n in FORMATS],
)
def test_warnings_are_rustcs_own(box: Sandbox, form: str) -> None:
    """Guards replay: in every format, cold and warm in another checkout, they are those of a build without kache."""
    words, env = FORMATS[form]
    first, second = box.checkout("a", warns()), box.checkout("the/second/one", warns())
    said_without = first.plain("build", *words, env=env)
    cold = first.build(*words, env=env)
    cold.expect(misses=2)
    assert (cold.messages, cold.json) == (said_without.messages, said_without.json)
    assert "unused" in cold.stdout + cold.stderr
    warm = second.build(*words, env=env)
    warm.expect(hits=2, misses=0)
    said_without = second.plain("build", *words, env=env)
    assert (warm.messages, warm.json) == (said_without.messages, said_without.json)


@mostly_daemon
def test_formats_do_not_spoil_each_other(box: Sandbox) -> None:
    """Guards presentation: messages recorded in one format are never shown to a caller who asked for another."""
    checkout = box.checkout("a", warns())
    for words in ((), ("--message-format=json",), ("--message-format=short",), ()):
        built = checkout.clean().build(*words)
        plain = checkout.plain("build", *words)
        assert (built.messages, built.json) == (plain.messages, plain.json)
        built.expect(hits=None, misses=None)
    checkout.clean().build().expect(hits=2, misses=0)


def test_cargo_replays_the_warnings_of_a_hit_when_nothing_is_left_to_do(box: Sandbox) -> None:
    """Guards cargo's own copy of the messages: it keeps what the wrapper printed and shows it again."""
    box.checkout("a", warns()).build()
    second = box.checkout("second", warns())
    first_time = second.build()
    again = second.build()
    again.expect(hits=0, misses=0)
    assert [line for line in again.stderr.splitlines() if "Finished" not in line] == [
        line for line in first_time.stderr.splitlines() if "Compiling" not in line and "Finished" not in line
    ]


@mostly_daemon
def test_the_width_of_the_terminal_decides_how_warnings_look(box: Sandbox) -> None:
    """Guards --diagnostic-width: a warning is cut as this terminal wants it, not as the one that compiled first."""
    pexpect = pytest.importorskip("pexpect")
    files = lib('pub fn f() { let unused = "' + "long " * 60 + '"; }\n')
    checkout = box.checkout("a", files)

    def said(columns: int, wrapper: Env) -> str:
        checkout.clean()
        env = box.env({"TERM": "xterm", "CARGO_TERM_PROGRESS_WHEN": "never", **wrapper})
        argv = ["-c", "cargo build; echo ended with $?; read -r line"]
        child = pexpect.spawn("sh", argv, cwd=str(checkout.path), env=env, dimensions=(24, columns), encoding="utf-8")
        child.expect("ended with 0", timeout=60)
        text = str(child.before)
        box.calls()
        child.sendline("")
        child.expect(pexpect.EOF, timeout=60)
        child.close()
        return "\n".join(line for line in text.splitlines() if "Finished" not in line)

    plain = {columns: said(columns, {"RUSTC_WRAPPER": ""}) for columns in (60, 150)}
    assert plain[60] != plain[150]
    for columns in (60, 150, 60):
        assert said(columns, {}) == plain[columns]


# ---- paths


def outside(source: str) -> Files:
    """A workspace in `ws` with a path dependency beside it."""
    inner = {
        "Cargo.toml": manifest("inside", deps={"outer": "../outer"}),
        "src/lib.rs": "pub fn f() -> u32 { outer::f() }\n",
    }
    return {f"ws/{name}": text for name, text in alone(inner).items()} | {
        "outer/Cargo.toml": manifest("outer"),
        "outer/src/lib.rs": source,
    }


def workspace_of(box: Sandbox, name: str, files: Files) -> Checkout:
    box.checkout(name, files)
    return box.checkout(f"{name}/ws", {})


@pytest.mark.parametrize("words", [(), ("--message-format=json",)], ids=["human", "json"])
def test_an_error_in_a_path_dependency_outside_of_the_workspace_shows_its_real_path(
    box: Sandbox, words: tuple[str, ...]
) -> None:
    """Guards editors' links: remapped names never show, also not for a compile that fails."""
    broken = workspace_of(box, "a", outside("pub fn f() -> u32 { undefined }\n"))
    failed = broken.build(*words, fails=True)
    plain = broken.plain("build", *words, fails=True)
    assert (failed.messages, failed.json) == (plain.messages, plain.json)
    assert str(box.root / "a" / "outer" / "src" / "lib.rs") in failed.stdout + failed.stderr


@mostly_daemon
def test_a_warning_in_a_path_dependency_outside_of_the_workspace_is_replayed_with_its_real_path(box: Sandbox) -> None:
    """Guards replay across checkouts where cargo names sources absolutely."""
    files = outside("pub fn f() -> u32 { let unused = 1; 2 }\n")
    workspace_of(box, "a", files).build()
    second = workspace_of(box, "second", files)
    for _ in range(2):
        built = second.clean().build("--message-format=json")
        assert built.json == second.plain("build", "--message-format=json").json
    built.expect(hits=2, misses=0)
    # One job: cargo's own summary of a crate's warnings and the start of the next crate come in any order.
    assert second.clean().build("-j1").messages == second.plain("build", "-j1").messages


def generated(text: str) -> Files:
    """A crate that includes a file its build script writes."""
    script = (
        f"const TEXT: &str = {chr(34)}{text}{chr(34)};\n"
        'fn main() { std::fs::write(std::env::var("OUT_DIR").unwrap() + "/made.rs", TEXT).unwrap(); }\n'
    )
    return lib('include!(concat!(env!("OUT_DIR"), "/made.rs"));\n', more={"build.rs": script})


@pytest.mark.parametrize("words", [(), ("--message-format=json",)], ids=["human", "json"])
def test_messages_about_generated_code_name_the_file_in_this_target_dir(box: Sandbox, words: tuple[str, ...]) -> None:
    """Guards OUT_DIR: an error on a miss and a warning on a hit both lead to the file that was read here."""
    broken = box.checkout("broken", generated("pub fn f() -> u32 { undefined }"))
    failed = broken.build(*words, fails=True)
    plain = broken.plain("build", *words, fails=True)
    assert (failed.messages, failed.json) == (plain.messages, plain.json)
    files = generated("pub fn f() -> u32 { let unused = 1; 2 }")
    box.checkout("a", files).build(*words)
    second = box.checkout("the/second/one", files)
    warm = second.build(*words)
    warm.expect(hits=2, misses=0)
    plain = second.plain("build", *words)
    assert (warm.messages, warm.json) == (plain.messages, plain.json)
    assert str(second.target) in warm.stdout + warm.stderr


def test_no_message_ever_shows_a_remapped_name(box: Sandbox) -> None:
    """Guards against leaks: what rustc is told to call this checkout stays between kache and rustc."""
    files = warns()
    files["src/main.rs"] = 'fn main() {\n    let x: u32 = "text";\n    println!("{}", warns::missing());\n}\n'
    for name in ("a", "second"):
        failed = box.checkout(name, files).build("--message-format=json-render-diagnostics", fails=True)
        assert "/proc/self/cwd" not in failed.stdout + failed.stderr
        assert "E0308" in failed.stderr


def test_artifact_paths_are_this_builds_own(box: Sandbox) -> None:
    """Guards tools that read `filenames` and `executable`: they point into this target dir, and the files are there."""
    box.checkout("a", warns()).build()
    second = box.checkout("second", warns())
    built = second.build("--message-format=json")
    built.expect(hits=None, misses=None)
    artifacts = [document for document in built.json if document["reason"] == "compiler-artifact"]
    names = [name for document in artifacts for name in document["filenames"]]
    assert names and all(name.startswith(str(second.target)) for name in names)
    assert all((second.target / name).exists() for name in names)


def test_cargo_fix_mends_the_sources_of_this_checkout(box: Sandbox) -> None:
    """Guards `file_name` in JSON: cargo fix edits the file it names."""
    box.checkout("a", warns()).build()
    second = box.checkout("second", warns())
    second.build()
    second.cargo("fix", "--allow-no-vcs", "--lib", "--bins").expect(hits=None, misses=None, passthroughs=None)
    assert "let same = warns::f();" in (second.path / "src/main.rs").read_text()
    assert "let _unused = 3;" in (second.path / "src/lib.rs").read_text()
    assert "mut same" in (box.root / "a" / "src/main.rs").read_text()


def test_a_panic_of_a_proc_macro_and_an_ice_free_error_are_rustcs_own(box: Sandbox) -> None:
    """Guards compiles that fail inside of a macro: message, path and exit status are what they are without kache."""
    files = alone(
        {
            "Cargo.toml": manifest("user", deps={"macros": "macros"}),
            "src/lib.rs": "macros::panics!();\n",
            "macros/Cargo.toml": manifest("macros", extra="[lib]\nproc-macro = true"),
            "macros/src/lib.rs": "#[proc_macro]\npub fn panics(_: proc_macro::TokenStream) -> proc_macro::TokenStream "
            '{ panic!("on purpose") }\n',
        }
    )
    checkout = box.checkout("a", files)
    failed = checkout.build(fails=True)
    plain = checkout.plain("build", fails=True)
    assert (failed.exit_code, failed.messages) == (plain.exit_code, plain.messages)
