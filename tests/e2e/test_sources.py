"""Sources in every shape: whatever rustc read decides, and nothing else does."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable

import pytest

from tests.support.marks import mostly_daemon, slow, warm_too
from tests.support.projects import Files, alone, manifest
from tests.support.sandbox import Sandbox
from tests.support.states import State, prints, told_apart

pytestmark = warm_too

COMPOSED = unicodedata.normalize("NFC", "größe")
DECOMPOSED = unicodedata.normalize("NFD", "größe")


def program(main: str, more: Files | None = None) -> Files:
    """A package `app` that is one program."""
    return alone({"Cargo.toml": manifest("app"), "src/main.rs": main, **(more or {})})


def says(word: str) -> str:
    """A module with `say()`."""
    return f'pub fn say() -> &\'static str {{ "{word}" }}\n'


TWO = 'mod one;\nmod two;\nfn main() { println!("{} {}", one::say(), two::say()); }\n'
PATHS = '#[path = "{0}"]\nmod one;\nfn main() {{ println!("{{}}", one::say()); }}\n'
SHOWS = 'fn main() {{ println!("{{}}", include_str!("{0}")); }}\n'

# name: (before, after, what the program of the second prints)
STATES: dict[str, tuple[Files, Files, str]] = {
    "bodies of two modules swapped": (
        program(TWO, {"src/one.rs": says("1"), "src/two.rs": says("2")}),
        program(TWO, {"src/one.rs": says("2"), "src/two.rs": says("1")}),
        "2 1",
    ),
    "a module added": (
        program('fn main() { println!("0"); }\n'),
        program('mod one;\nfn main() { println!("{}", one::say()); }\n', {"src/one.rs": says("1")}),
        "1",
    ),
    "a module removed": (
        program('mod one;\nfn main() { println!("{}", one::say()); }\n', {"src/one.rs": says("1")}),
        program('fn main() { println!("0"); }\n', {"src/one.rs": says("1")}),
        "0",
    ),
    "a module moved into a directory": (
        program(TWO, {"src/one.rs": says("1"), "src/two.rs": says("2")}),
        program(TWO, {"src/one/mod.rs": says("3"), "src/two.rs": says("2")}),
        "3 2",
    ),
    "a file named by path": (
        program(PATHS.format("odd/name.txt"), {"src/odd/name.txt": says("1")}),
        program(PATHS.format("odd/name.txt"), {"src/odd/name.txt": says("2")}),
        "2",
    ),
    "a path to another file": (
        program(PATHS.format("a.rs"), {"src/a.rs": says("a"), "src/b.rs": says("b")}),
        program(PATHS.format("b.rs"), {"src/a.rs": says("a"), "src/b.rs": says("b")}),
        "b",
    ),
    "a source outside of the package": (
        {f"ws/{name}": text for name, text in program(PATHS.format("../../shared.rs")).items()}
        | {"shared.rs": says("1")},
        {f"ws/{name}": text for name, text in program(PATHS.format("../../shared.rs")).items()}
        | {"shared.rs": says("2")},
        "2",
    ),
    "include": (
        program('include!("part.in");\nfn main() { println!("{}", say()); }\n', {"src/part.in": says("1")}),
        program('include!("part.in");\nfn main() { println!("{}", say()); }\n', {"src/part.in": says("2")}),
        "2",
    ),
    "include in an include": (
        program(
            'include!("a.in");\nfn main() { println!("{}", say()); }\n',
            {"src/a.in": 'include!("deep/b.in");\n', "src/deep/b.in": says("1")},
        ),
        program(
            'include!("a.in");\nfn main() { println!("{}", say()); }\n',
            {"src/a.in": 'include!("deep/b.in");\n', "src/deep/b.in": says("2")},
        ),
        "2",
    ),
    "include_str outside": (
        program(SHOWS.format("../../note.md"), {"../note.md": "one"}),
        program(SHOWS.format("../../note.md"), {"../note.md": "two"}),
        "two",
    ),
    "include_bytes by a macro": (
        program(
            'macro_rules! data { ($name:literal) => { include_bytes!(concat!("../data/", $name)) } }\n'
            'fn main() { println!("{}", data!("d.bin").len()); }\n',
            {"data/d.bin": "1"},
        ),
        program(
            'macro_rules! data { ($name:literal) => { include_bytes!(concat!("../data/", $name)) } }\n'
            'fn main() { println!("{}", data!("d.bin").len()); }\n',
            {"data/d.bin": "12"},
        ),
        "2",
    ),
    "a name in another script": (
        program(PATHS.format("日本語.rs"), {"src/日本語.rs": says("1")}),
        program(PATHS.format("日本語.rs"), {"src/日本語.rs": says("2")}),
        "2",
    ),
    "two normal forms of one name": (
        program(PATHS.format(f"{COMPOSED}.rs"), {f"src/{COMPOSED}.rs": says("1"), f"src/{DECOMPOSED}.rs": says("2")}),
        program(PATHS.format(f"{DECOMPOSED}.rs"), {f"src/{COMPOSED}.rs": says("1"), f"src/{DECOMPOSED}.rs": says("2")}),
        "2",
    ),
    "signs in a name": (
        program(PATHS.format("a b#c'd$e.rs"), {"src/a b#c'd$e.rs": says("1")}),
        program(PATHS.format("a b#c'd$e.rs"), {"src/a b#c'd$e.rs": says("2")}),
        "2",
    ),
}
ALIKE = {"a module removed", "a path to another file", "include", "a module moved into a directory"}


@pytest.mark.parametrize("name", [pytest.param(name, marks=slow if name in ALIKE else ()) for name in STATES])
@mostly_daemon
def test_a_change_of_the_sources_reaches_the_program(box: Sandbox, name: str) -> None:
    """Guards the closure: every file that makes a program is in it, wherever it lies and however it is named."""
    before, after, printed = STATES[name]
    inner = "ws" if "ws/src/main.rs" in before else ""
    if inner:
        box.checkout("a", before), box.checkout("the/second/one", after)
        first, second = box.checkout("a/ws", {}), box.checkout("the/second/one/ws", {})
        first.build().expect(misses=1)
        second.build().expect(misses=1, hits=0)
        for checkout in (first, second):
            checkout.clean().build().expect(hits=1, misses=0)
            checkout.same_bytes_as_plain()
    else:
        first, second = told_apart(box, State(before), State(after), misses=1)
    assert prints(second, "app") == printed + "\n"
    assert prints(first, "app") != printed + "\n"


def test_a_file_that_nothing_reads_is_no_input(box: Sandbox) -> None:
    """Guards against noise: sources beside the crate's own, read by nobody, may come, change and go."""
    files = program('fn main() { println!("1"); }\n', {"src/unused.rs": says("1"), "src/unused/deep.rs": ""})
    box.checkout("a", files).build().expect(misses=1)
    others = {name: text for name, text in files.items() if "unused" not in name}
    box.checkout("b", others | {"src/other.rs": "fn", "notes/x.rs": ""}).build().expect(hits=1, misses=0)


@pytest.mark.parametrize("what", ["file", "directory", "module of a module"])
@mostly_daemon
def test_a_link_turned_to_another_file(box: Sandbox, what: str) -> None:
    """Guards symlinks: what is behind one counts, though name and date stay as they were."""
    files = program('mod one;\nfn main() { println!("{}", one::say()); }\n')
    checkout = box.checkout("a", files)
    for number in "12":
        checkout.write(f"shared/{number}/one.rs", says(number))
        os.utime(checkout.path / f"shared/{number}/one.rs", (1_600_000_000, 1_600_000_000))
        checkout.write(f"shared/{number}/mod.rs", says(number))
    link, target = {
        "file": ("src/one.rs", "../shared/{}/one.rs"),
        "directory": ("src/one", "../shared/{}"),
        "module of a module": ("src/one.rs", "middle.rs"),
    }[what]
    for number in "1212":
        middle = checkout.path / "src/middle.rs"
        middle.unlink(missing_ok=True)
        middle.symlink_to(f"../shared/{number}/one.rs")
        path = checkout.path / link
        path.unlink(missing_ok=True)
        path.symlink_to(target.format(number))
        checkout.clean().build().expect(hits=None, misses=None)
        assert prints(checkout, "app") == number + "\n"
        checkout.same_bytes_as_plain()
    checkout.clean().build().expect(hits=1, misses=0)


# name: (what a file is replaced by, whether it still compiles)
SHADOWS: dict[str, tuple[str, str, bool]] = {
    "mod.rs beside the file": ("src/one/mod.rs", says("2"), False),
    "a file in the way of a directory's module": ("src/one/deep/mod.rs", says("2"), False),
    "a module of another crate root": ("src/deep.rs", says("2"), True),
}


@pytest.mark.parametrize("name", SHADOWS)
@mostly_daemon
def test_a_new_file_that_shadows_another(box: Sandbox, name: str) -> None:
    """Guards absent paths: what was looked for and not found is an input, also two modules deep."""
    path, text, compiles = SHADOWS[name]
    main = 'mod one;\nfn main() { println!("{}", one::say()); }\n'
    files = program(main, {"src/one.rs": "mod deep;\npub use deep::say;\n", "src/one/deep.rs": says("1")})
    box.checkout("a", files).build().expect(misses=1)
    second = box.checkout("second", files | {path: text})
    built = second.build(fails=not compiles)
    plain = second.plain("build", fails=not compiles)
    assert (built.exit_code, built.messages) == (plain.exit_code, plain.messages)
    assert ("E0761" in built.stderr) is not compiles
    box.checkout("third", files).build().expect(hits=1, misses=0)


GENERATED: dict[str, Callable[[str], str]] = {
    "macro of the crate": lambda name: f"macro_rules! m {{ () => {{ mod {name}; }} }}\nm!();\n",
    "cfg_attr": lambda name: f'#[cfg_attr(all(), path = "{name}.rs")]\nmod any;\nuse any as {name};\n',
}


@pytest.mark.parametrize("how", GENERATED)
@mostly_daemon
def test_modules_that_only_rustc_finds(box: Sandbox, how: str) -> None:
    """Guards against reading sources ourselves: a module a macro or an attribute names is known by rustc's word."""
    text = GENERATED[how]("one") + 'fn main() { println!("{}", one::say()); }\n'
    one, other = (State(program(text, {"src/one.rs": says(word)})) for word in "12")
    _, second = told_apart(box, one, other, misses=1)
    assert prints(second, "app") == "2\n"
