"""`kache monitor`: driven by Textual's pilot at three sizes, and typed into a real terminal."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, TabbedContent

from kache.config.load import load
from kache.tui.app import TABS, Monitor
from kache.tui.frame import settled
from kache.tui.source import Source
from tests.support.cli import CliBox, Index
from tests.support.report_index import NOW_NS, fill
from tests.support.terminal import end_of, type_kache

GOLDEN = Path(__file__).parents[1] / "golden" / "monitor"
REMOTE = "s3://builds/ours"
SIZES = [(80, 24), (120, 40), (60, 16)]
Steps = Callable[[Monitor, "Pilot[None]"], Awaitable[None]]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliBox:
    """A history that stands still: the monitor's clock is that of the history."""
    clock = SimpleNamespace(time_ns=lambda: NOW_NS, monotonic=time.monotonic)
    monkeypatch.setattr("kache.tui.source.time", clock)
    return filled(tmp_path, NOW_NS)


@pytest.fixture
def live_box(tmp_path: Path) -> CliBox:
    """The same a moment ago, for processes of their own."""
    return filled(tmp_path, time.time_ns())


def filled(root: Path, now_ns: int) -> CliBox:
    made = CliBox(root)
    index = fill(made, now_ns=now_ns)
    for number, (crate, size) in enumerate((("serde", 4000), ("leaf", 9000), ("app", 100)), 1):
        index.entry(crate, number=number, bytes=size)
    transfers(index)
    index.connection.close()
    return made


def transfers(index: Index) -> None:
    """Two fetched, one of them for nothing, one sent, one that failed and waits."""
    row = {"build": "2-2", "requests": 2, "waited_us": 40_000, "compile_ms": 900}
    for age_s, way, outcome, number, size in (
        (99, "get", "hit", 1, 3_000_000),
        (98, "get", "absent", 9, 0),
        (4, "put", "stored", 2, 500_000),
        (3, "put", "failed", 3, 0),
    ):
        at_ns = index.now_ns - age_s * 10**9
        index.insert(
            "transfers", at_ns=at_ns, direction=way, outcome=outcome, key=bytes([number]) * 32, bytes=size, **row
        )
    waits = {"place": REMOTE, "key": bytes([3]) * 32, "queued_ns": index.now_ns - 9 * 10**9}
    index.insert("uploads", due_ns=index.now_ns + 7 * 10**9, tries=1, **waits)


def source(box: CliBox) -> Source:
    return Source(load(box.env({"KACHE_REMOTE": REMOTE}), None), 86400.0)


def problem_of(box: CliBox) -> str:
    with closing(source(box)) as looks:
        return looks.take().problem


def drive(box: CliBox, steps: Steps, size: tuple[int, int] = (100, 30)) -> list[str]:
    """Run the app without a terminal; what `purge` was asked to delete."""
    purged: list[str] = []

    async def run() -> None:
        app = Monitor(source(box), lambda crate: purged.append(crate) or f"deleted {crate}")
        async with app.run_test(size=size) as pilot:
            app.animation_level = "none"
            await settled(app, pilot)
            await steps(app, pilot)

    asyncio.run(run())
    return purged


def rows(app: Monitor, name: str) -> list[str]:
    table: DataTable[Any] = app.query_one(f"#{name}", DataTable)
    return [str(table.get_row_at(at)[0]) for at in range(table.row_count)]


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tab", TABS)
def test_golden_frames(box: CliBox, tab: str, size: tuple[int, int]) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        app.action_tab(tab)
        text = await settled(app, pilot)
        path = GOLDEN / f"{tab}-{size[0]}x{size[1]}.txt"
        if os.environ.get("UPDATE_GOLDEN"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text()
        assert all(len(line) <= size[0] for line in text.splitlines()) and len(text.splitlines()) <= size[1]

    drive(box, steps, size)


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_both_themes_have_colours_that_can_be_read(box: CliBox, size: tuple[int, int]) -> None:
    """Golden as `foreground/background*characters`, a line of the screen a line."""

    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        for theme in ("dark", "light"):
            await settled(app, pilot)
            lines = colours(app)
            written = [run for line in lines for run in line if any(each.isalnum() for each in run[0])]
            assert min(contrast(ink, ground) for _, ink, ground in written) > 2.5
            shown = "".join(
                " ".join(f"{ink}/{ground}*{len(text)}" for text, ink, ground in line) + "\n" for line in lines
            )
            path = GOLDEN / f"colours-{theme}-{size[0]}x{size[1]}.txt"
            if os.environ.get("UPDATE_GOLDEN"):
                path.write_text(shown)
            assert shown == path.read_text()
            await pilot.press("t")

    drive(box, steps, size)


def colours(app: Monitor) -> list[list[tuple[str, str, str]]]:
    """The runs of one colour on each line: text, ink, ground."""
    lines = []
    for strip in app.screen._compositor.render_strips():
        runs: list[tuple[str, str, str]] = []
        for text, style, _ in strip:
            ink, ground = (
                each.get_truecolor().hex if each is not None else "#000000"
                for each in (style.color if style else None, style.bgcolor if style else None)
            )
            same = bool(runs) and runs[-1][1:] == (ink, ground)
            runs.append(((runs.pop()[0] if same else "") + text, ink, ground))
        lines.append(runs)
    return lines


def contrast(ink: str, ground: str) -> float:
    """Source: WCAG 2.1, contrast ratio and relative luminance."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(ink), luminance(ground)))
    return (high + 0.05) / (low + 0.05)


def test_a_terminal_made_too_small_meanwhile_is_said(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(40, 8)
        assert "the monitor needs 60x16" in " ".join((await settled(app, pilot)).split())
        await pilot.resize_terminal(80, 24)
        shown = await settled(app, pilot)
        assert "1 Builds" in shown and "needs" not in shown

    drive(box, steps)


def test_keys_lead_through_the_tabs(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        for key, name in zip("123456", TABS, strict=True):
            await pilot.press(key)
            assert app.query_one(TabbedContent).active == name
        theme = app.theme
        await pilot.press("t")
        assert app.theme != theme

    drive(box, steps)


def test_the_cursor_chooses_the_build_whose_units_are_shown(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        assert rows(app, "unit-table") == ["app", "odd", "new_one", "leaf", "serde"]
        await pilot.press("down")
        await pilot.pause()
        assert rows(app, "unit-table") == ["leaf", "serde"]
        await pilot.pause(0.7)  # looked again meanwhile: the choice stays
        assert rows(app, "unit-table") == ["leaf", "serde"]

    drive(box, steps)


def test_who_looks_at_the_newest_build_sees_the_next_one(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        first = app._build
        index = Index(box.cache_dir / "store" / "index.db")
        index.now_ns = NOW_NS
        index.build("9-9")
        index.event("miss", build="9-9", crate="fresh")
        index.connection.close()
        for _ in range(60):
            await pilot.pause(0.05)
            if rows(app, "unit-table") == ["fresh"]:
                break
        assert first != "9-9" and rows(app, "unit-table") == ["fresh"]
        table: DataTable[Any] = app.query_one("#build-table", DataTable)
        assert table.cursor_row == 0
        await pilot.press("down")
        await pilot.pause()
        assert app._build == first

    drive(box, steps)


def test_a_mouse_chooses_too(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.click("#build-table", offset=(6, 2))
        await pilot.pause()
        assert rows(app, "unit-table") == ["leaf", "serde"]

    drive(box, steps)


def test_a_click_on_a_heading_sorts_by_it(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await settled(app, pilot)
        await pilot.click("#store-table", offset=(15, 0))  # "size"
        await pilot.pause()
        assert rows(app, "store-table") == ["leaf", "serde", "app"]
        await pilot.click("#store-table", offset=(2, 0))  # "crate"
        await pilot.pause()
        assert rows(app, "store-table") == ["app", "leaf", "serde"]

    drive(box, steps)


def test_every_tab_has_orders(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        assert rows(app, "build-table")  # the newest, then the longest first
        columns = app.query_one("#build-table", DataTable)
        assert str(columns.get_row_at(0)[2]) == "600 ms"
        await pilot.press("s")
        await pilot.pause()
        assert str(columns.get_row_at(0)[2]) == "900 ms"
        await pilot.press("2", "s", "5", "s", "6", "s", "3", "s")
        await pilot.pause()

    drive(box, steps)


def test_filter_narrows_and_escape_ends_it(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("4", "slash", *"lea", "enter")
        await settled(app, pilot)
        assert rows(app, "store-table") == ["leaf"]
        await pilot.press("slash", "escape")
        await settled(app, pilot)
        assert rows(app, "store-table") == ["app", "leaf", "serde"]

    drive(box, steps)


def test_keys_that_come_together_with_the_slash_are_of_the_name(box: CliBox) -> None:
    """Guards pastes and slow lines: a `d` of the name is no wish to delete."""

    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("4")
        await pilot.pause()
        for key, character in (("slash", "/"), ("d", "d"), ("y", "y")):
            app.post_message(events.Key(key, character))
        await settled(app, pilot)
        assert app.query_one("#filter", Input).value == "dy" and len(app.screen_stack) == 1
        await pilot.press("slash")
        assert app.query_one("#filter", Input).value == "dy/"

    drive(box, steps)


def test_sort_and_delete_after_a_question(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        await pilot.press("4", "s")
        await pilot.pause()
        assert rows(app, "store-table") == ["leaf", "serde", "app"]
        await pilot.press("d")
        await pilot.pause()
        await pilot.press("n")
        await pilot.pause()
        await pilot.press("d")
        await pilot.pause()
        await pilot.press("y")
        await pilot.pause(0.2)

    assert drive(box, steps) == ["app"]  # the cursor stayed on the row it was on


def test_what_happens_meanwhile_appears(box: CliBox) -> None:
    async def steps(app: Monitor, pilot: Pilot[None]) -> None:
        index = box.index()
        index.now_ns = NOW_NS
        index.build("3-3")
        index.event("local_hit", crate="fresh", build="3-3")
        index.connection.close()
        for _ in range(60):
            await pilot.pause(0.05)
            if len(rows(app, "build-table")) == 3:
                return
        raise AssertionError("the new build is not shown")

    drive(box, steps)


def test_no_store_and_a_broken_one_are_shown_not_raised(box: CliBox, tmp_path: Path) -> None:
    index = box.cache_dir / "store" / "index.db"
    index.write_bytes(b"no database at all\n" * 500)

    assert "damaged" in problem_of(box)
    (tmp_path / "fresh").mkdir()
    empty = CliBox(tmp_path / "fresh")
    assert problem_of(empty) == "" and not empty.cache_dir.exists()


def test_a_daemon_may_come_and_go(box: CliBox) -> None:
    looks = source(box)
    with closing(looks):
        assert looks.take().daemon is None
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(box.cache_dir / "daemon.sock"))
            assert looks.take().daemon is None  # nobody listens
        (box.cache_dir / "daemon.sock").unlink()
        box.run("daemon", "start")
        try:
            while looks.take().daemon is None:
                looks.wait(0.2)
            assert (looks.take().daemon or {})["compiles"] == []
        finally:
            box.run("daemon", "stop")
        while looks.take().daemon is not None:
            looks.wait(0.2)


def test_typed_in_a_terminal(live_box: CliBox) -> None:
    child = type_kache("monitor", env=live_box.env(), cwd=live_box.cwd, size=(24, 80))
    child.expect("hits 1")
    child.send("4")
    child.expect("by name")
    child.send("q")
    status, said = end_of(child)
    assert status == 0 and "Traceback" not in said


@pytest.mark.parametrize("size", [(15, 80), (24, 59)])
def test_a_terminal_too_small_is_said(box: CliBox, size: tuple[int, int]) -> None:
    status, said = end_of(type_kache("monitor", env=box.env(), cwd=box.cwd, size=size))
    assert status == 2 and f"{size[1]}x{size[0]} characters" in said


def test_no_terminal_is_said(box: CliBox) -> None:
    done = box.run("monitor")
    assert done.returncode == 2 and "needs a terminal" in done.stderr
    assert box.error("monitor")["fix"] == "use kache report --json"


def test_snapshots(live_box: CliBox) -> None:
    assert "cargo build|x" in live_box.run("monitor", "--snapshot", "-").stdout
    assert "causes of misses" in live_box.data("monitor", "--snapshot", "-", "--tab", "why")["frame"]
    assert live_box.run("monitor", "--snapshot", "m.svg").returncode == 0
    assert (live_box.cwd / "m.svg").read_text().startswith("<svg")
    small = live_box.run("monitor", "--snapshot", "-", "--size", "80x24", "--light").stdout.splitlines()
    assert len(small) <= 24 and max(map(len, small)) <= 80


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--snapshot", "-", "--size", "20x3"), "a size in characters from 60x16 to"),
        (("--snapshot", "-", "--size", "wide"), "as 100x30"),
        (("--tab", "store"), "of a snapshot"),
        (("--snapshot", "/nowhere/m.svg"), "cannot write /nowhere/m.svg"),
    ],
)
def test_what_makes_no_snapshot_is_said(live_box: CliBox, words: tuple[str, ...], why: str) -> None:
    done = live_box.run("monitor", *words)
    assert done.returncode in (1, 2) and why in done.stderr
