"""`kache clean` on target directories as cargo leaves them."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from kache.cli.commands.clean import chosen_of
from kache.tui.frame import text_of
from kache.tui.selector import Selector
from tests.support.cli import CliBox
from tests.support.terminal import end_of, type_kache

TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This file is a cache directory tag created by cargo.\n"


@pytest.fixture
def box(tmp_path: Path) -> CliBox:
    return CliBox(tmp_path)


def target(box: CliBox, name: str, *, age_s: float = 0, sources: bool = True) -> Path:
    """A target dir beside a checkout of that name, which may be gone."""
    source = box.cwd / name / "src" / "lib.rs"
    if sources:
        source.parent.mkdir(parents=True)
        source.touch()
    made = box.cwd / "targets" / name
    deps = made / "debug" / "deps"
    deps.mkdir(parents=True)
    (made / "debug" / ".fingerprint").mkdir()
    (made / "CACHEDIR.TAG").write_text(TAG)
    (made / ".rustc_info.json").write_text('{"outputs": {"1": {"stdout": "rustc 1.95.0 (x)\\nbinary: rustc"}}}')
    (made / "debug" / ".cargo-lock").touch()
    (deps / f"lib{name}-0123.rlib").write_bytes(os.urandom(100_000))
    (deps / f"{name}-0123.d").write_text(f"{deps}/lib{name}-0123.rlib: {source}\n\n{source}:\n")
    then = time.time() - age_s
    for path in made.rglob("*"):
        os.utime(path, (then, then))
    return made


def rows(box: CliBox, *words: str) -> dict[str, dict[str, object]]:
    return {Path(row["path"]).name: row for row in box.data("clean", "-n", *words)["target_dirs"]}


def test_they_are_found_and_measured_and_nothing_else(box: CliBox) -> None:
    made = target(box, "one")
    (box.cwd / "target").mkdir()
    (box.cwd / "target" / "notes.txt").write_text("mine")
    found = rows(box)
    assert list(found) == ["one"]
    assert found["one"]["profiles"] == ["debug"] and found["one"]["rustc"] == "rustc 1.95.0 (x)"
    own, shared = found["one"]["own_bytes"], found["one"]["shared_bytes"]
    assert isinstance(own, int) and own >= 100_000 and shared == 0
    os.link(made / "debug/deps/libone-0123.rlib", made / "debug/libone.rlib")
    assert rows(box)["one"]["own_bytes"] == own  # two names in one target dir are its own
    os.link(made / "debug/libone.rlib", box.root / "elsewhere")
    assert rows(box)["one"]["shared_bytes"] >= 100_000  # type: ignore[operator]


def test_stale_and_orphans(box: CliBox) -> None:
    target(box, "fresh")
    target(box, "old", age_s=40 * 86400)
    target(box, "gone", sources=False)
    assert set(rows(box, "--stale", "30d")) == {"old"}
    assert set(rows(box, "--orphans")) == {"gone"}
    assert rows(box, "--orphans", "--stale", "30d") == {}


def test_what_a_build_script_wrote_makes_no_orphan_look_alive(box: CliBox) -> None:
    """Such sources lie in the target dir itself: serde alone would hide every orphan."""
    gone = target(box, "gone", sources=False)
    out = gone / "debug" / "build" / "serde-01" / "out" / "private.rs"
    out.parent.mkdir(parents=True)
    out.touch()
    (gone / "debug" / "deps" / "serde-01.d").write_text(f"{gone}/debug/deps/libserde-01.rlib: /gone/lib.rs {out}\n")
    assert set(rows(box, "--orphans")) == {"gone"}


def test_what_the_store_could_put_back(box: CliBox) -> None:
    from kache.core.entry import Artifact, Role
    from kache.store import entries
    from tests.support.store import entry_of

    made = target(box, "one")
    index = box.index()
    entry = entry_of("one", (Artifact("libone-0123.rlib", Role.RLIB, b"d" * 32, 100_000, False),))
    index.entry("one", number=1, body=entries.encode(entry))
    assert rows(box)["one"]["restorable_bytes"] >= 100_000  # type: ignore[operator]
    # As cargo gives a program its name beside the hash's: the first name found is not the one the store knows.
    os.link(made / "debug/deps/libone-0123.rlib", made / "debug/libone.rlib")
    assert rows(box)["one"]["restorable_bytes"] >= 100_000  # type: ignore[operator]


def test_one_in_use_is_left(box: CliBox) -> None:
    made, other = target(box, "busy"), target(box, "idle")
    with (made / "debug" / ".cargo-lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = box.run("clean", "-y", "--json")
    data = json.loads(done.stdout)["data"]
    assert done.returncode == 1 and data["deleted"] == [str(other)] and data["left"][0]["why"] == "cargo builds there"
    assert made.exists() and not other.exists() and list((box.cwd / "targets").iterdir()) == [made]


def test_typed_choice(box: CliBox) -> None:
    names = {target(box, name).name for name in ("a", "b", "c")}
    child = type_kache("clean", env=box.env(), cwd=box.cwd, term="dumb")
    child.expect("delete which")
    child.sendline("7")
    child.expect("numbers from 1 to 3")
    child.expect("delete which")
    child.sendline("1, 3")
    status, said = end_of(child)
    assert status == 0 and "deleted 2 target directories" in said
    assert len(names & {path.name for path in (box.cwd / "targets").iterdir()}) == 1


def test_ticked_on_the_screen(box: CliBox) -> None:
    sizes = {"a": 3, "b": 2, "c": 1}  # the largest first
    made = {name: target(box, name) for name in sizes}
    for name, count in sizes.items():
        (made[name] / "debug" / "deps" / "x.rlib").write_bytes(b"x" * (count << 20))
    child = type_kache("clean", env=box.env(), cwd=box.cwd, size=(24, 100))
    child.expect("Escape: leave all")
    child.send(" ")
    child.expect("1 row ticked")
    child.send("j")  # no key of ours: nothing happens
    child.send("\x1b[B ")  # over b, to c
    child.expect("2 rows ticked")
    child.send("\r")
    status, said = end_of(child)
    assert status == 0 and "deleted 2 target directories" in said
    assert [name for name in made if made[name].exists()] == ["b"]


@pytest.mark.parametrize(("key", "status"), [("q", 0), ("\x03", 130)])
def test_the_screen_left_deletes_nothing(box: CliBox, key: str, status: int) -> None:
    made = target(box, "a")
    child = type_kache("clean", env=box.env(), cwd=box.cwd, size=(24, 100))
    child.expect("Escape: leave all")
    child.send(" ")
    child.expect("1 row ticked")
    child.send(key)
    assert end_of(child)[0] == status and made.exists()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (60, 16)], ids=str)
def test_golden_selector(size: tuple[int, int]) -> None:
    rows = [["1.4 GiB", "12.0 MiB", "1.1 GiB", "3 d", "/src/one/target"], ["2.0 MiB", "0 B", "0 B", "9 d", "/src/two"]]

    async def run() -> str:
        app = Selector(
            "which?", ("own", "shared", "restorable", "unchanged", "where"), rows, (1503238553, 2097152), "go"
        )
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await pilot.press("space")
            await pilot.pause()
            return text_of(app)

    text = asyncio.run(run())
    path = Path(__file__).parents[1] / "golden" / "monitor" / f"selector-{size[0]}x{size[1]}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text()


def test_enter_and_ctrl_c_delete_nothing(box: CliBox) -> None:
    made = target(box, "a")
    child = type_kache("clean", env=box.env(), cwd=box.cwd, term="dumb")
    child.expect("delete which")
    child.sendline("")
    assert end_of(child)[0] == 0 and made.exists()
    child = type_kache("clean", env=box.env(), cwd=box.cwd, term="dumb")
    child.expect("delete which")
    child.sendintr()
    assert end_of(child)[0] == 130 and made.exists()


@pytest.mark.parametrize("words", [(), ("-n", "-y"), ("/nonexistent",)])
def test_wrong_usage_deletes_nothing(box: CliBox, words: tuple[str, ...]) -> None:
    made = target(box, "a")
    assert box.run("clean", *words).returncode == 2
    assert made.exists()


def test_nothing_found(box: CliBox) -> None:
    assert "no target directory" in box.run("clean").stdout


@pytest.mark.parametrize(
    ("answer", "chosen"),
    [
        ("", []),
        ("all", [0, 1, 2, 3]),
        ("2", [1]),
        ("1 3-4", [0, 2, 3]),
        ("4,4", [3]),
        ("5", None),
        ("0", None),
        ("3-1", None),
        ("x", None),
        ("-2", None),
    ],
)
def test_answers(answer: str, chosen: list[int] | None) -> None:
    assert chosen_of(f"{answer}\n", 4) == chosen
