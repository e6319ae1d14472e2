"""`kache config tui`: what it shows at three sizes, what its keys change in the file, and that comments stay."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, Static

from kache.cli.session import Session
from kache.cli.settings_on_screen import SettingsOnScreen
from kache.config.load import load
from kache.tui.frame import text_of
from kache.tui.settings import SettingsEditor
from tests.support.cli import CliBox
from tests.support.terminal import end_of, type_kache

GOLDEN = Path(__file__).parents[1] / "golden" / "monitor"
SIZES = [(80, 24), (120, 40), (60, 16)]
WRITTEN = "# mine\n[cache]\nmax_size = '5GiB'  # enough\n"
Steps = Callable[[SettingsEditor, "Pilot[None]"], Awaitable[None]]


def drive(env: dict[str, str], file: Path, steps: Steps, size: tuple[int, int] = (100, 30)) -> SettingsOnScreen:
    session = Session(env=env, cwd=None, config=load(env, None), as_json=False)
    settings = SettingsOnScreen(session, file)

    async def run() -> None:
        app = SettingsEditor(settings)
        async with app.run_test(size=size) as pilot:
            await pilot.pause()
            await steps(app, pilot)

    asyncio.run(run())
    return settings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(WRITTEN)
    return path


def change(file: Path, *keys: str, env: dict[str, str] | None = None) -> tuple[str, list[str]]:
    """Press keys; what it said last, and what was changed."""
    said = []

    async def steps(app: SettingsEditor, pilot: Pilot[None]) -> None:
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
        said.append(str(app.query_one("#said", Static).render()))

    found = drive({"HOME": "/nowhere", "KACHE_CONFIG": str(file), **(env or {})}, file, steps)
    return said[0], found.changed


def search(name: str) -> tuple[str, ...]:
    return ("slash", *("underscore" if letter == "_" else letter for letter in name), "enter")


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_golden_frames(size: tuple[int, int]) -> None:
    env = {"HOME": "/who/ann", "KACHE_KEY_SALT": "team-a"}

    async def steps(app: SettingsEditor, pilot: Pilot[None]) -> None:
        await pilot.press(*search("salt"))  # few rows: a setting that is added changes no frame
        await pilot.pause()
        text = text_of(app)
        path = GOLDEN / f"config-{size[0]}x{size[1]}.txt"
        if os.environ.get("UPDATE_GOLDEN"):
            path.write_text(text)
        assert text == path.read_text()

    drive(env, Path("/who/ann/.config/kache/config.toml"), steps, size)


def test_every_setting_is_there_with_what_it_means(file: Path) -> None:
    from kache.config.settings import SETTINGS

    async def steps(app: SettingsEditor, pilot: Pilot[None]) -> None:
        table: DataTable[Any] = app.query_one(DataTable)
        assert [str(table.get_row_at(at)[0]) for at in range(table.row_count)] == [each.name for each in SETTINGS]
        for setting in SETTINGS:
            assert setting.doc in str(app.query_one("#about", Static).render())
            await pilot.press("down")
            await pilot.pause()

    drive({"HOME": "/nowhere"}, file, steps)


def test_a_value_is_typed_and_comments_stay(file: Path) -> None:
    said, changed = change(file, *search("max_size"), "enter", *("backspace",) * 4, *"20GiB", "enter")
    assert file.read_text() == '# mine\n[cache]\nmax_size = "20GiB"  # enough\n'
    assert changed == ["max_size"] and said == "max_size = 20GiB, saved"


def test_a_wrong_value_is_said_and_not_written(file: Path) -> None:
    said, changed = change(file, *search("max_size"), "enter", *"x", "enter")
    assert "write a size such as" in said and changed == [] and file.read_text() == WRITTEN


def test_escape_leaves_it_as_it_is(file: Path) -> None:
    _, changed = change(file, *search("max_size"), "enter", *"1", "escape")
    assert changed == [] and file.read_text() == WRITTEN


def test_space_takes_the_next_of_the_words(file: Path) -> None:
    change(file, *search("verify"), "space")
    assert 'verify = "sampled"' in file.read_text()
    change(file, *search("remap"), "space")
    assert "remap = false" in file.read_text()


def test_u_takes_it_out_of_the_file(file: Path) -> None:
    said, changed = change(file, *search("max_size"), "u")
    assert "no longer set here" in said and changed == ["max_size"] and "max_size" not in file.read_text()
    said, changed = change(file, *search("key_salt"), "u")
    assert "key_salt is not set in" in said and changed == []


def test_what_outranks_the_file_is_said(file: Path) -> None:
    said, _ = change(file, *search("verify"), "space", env={"KACHE_VERIFY": "always"})
    assert said == f"saved, but KACHE_VERIFY outranks {file}"


def test_what_a_file_cannot_set_is_said(file: Path) -> None:
    said, changed = change(file, *search("cache_dir"), "enter")
    assert "set KACHE_CACHE_DIR" in said and changed == []


def test_typed_in_a_terminal(tmp_path: Path) -> None:
    box = CliBox(tmp_path)
    child = type_kache("config", "tui", env=box.env(), cwd=box.cwd, size=(24, 80))
    child.expect("key_salt")
    child.send("/")
    child.expect("part of a name")
    child.send("remap\r")
    child.expect("KACHE_REMAP")
    child.send(" ")
    child.expect("saved")
    child.send("q")
    status, said = end_of(child)
    assert status == 0 and "changed in" in said and "remap" in said
    assert "remap = false" in (box.home / ".config/kache/config.toml").read_text()


def test_without_a_terminal_it_says_so(tmp_path: Path) -> None:
    error = CliBox(tmp_path).error("config", "tui")
    assert error["fix"] == "use kache config list and set"
