"""The monitor: four tabs, one filter, and a thread that looks whether anything changed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Sparkline, Static, TabbedContent, TabPane

from kache.cargo.target_dirs import TargetDir
from kache.tui import tables
from kache.tui.confirm import Confirm
from kache.tui.source import Snapshot, Source
from kache.tui.tables import Line

LOOK_S = 0.5
_BAR_WIDTH = 24
TABS = ("builds", "why", "projects", "store")


class Monitor(App[None]):
    """See above.

    Args:
        source: of snapshots.
        purge: deletes the entries of one crate and says so.
    """

    TITLE = "kache"
    CSS = """
    #summary { height: 1; padding: 0 1; background: $panel; }
    #hits { height: 2; padding: 0 1; }
    #filter { display: none; height: 3; }
    #filter.shown { display: block; }
    #running { height: auto; max-height: 6; padding: 0 1; color: $text-muted; }
    #build-table { height: 1fr; min-height: 4; }
    #unit-table { height: 1fr; min-height: 4; border-top: solid $panel; }
    .bars { height: auto; max-height: 10; padding: 0 1; }
    .title { color: $text-muted; padding: 0 1; }
    Screen { overflow: hidden; }
    TabbedContent { height: 1fr; }
    ContentSwitcher { height: 1fr; }
    TabPane { padding: 0; height: 1fr; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        *(Binding(str(number), f"tab('{name}')", name.title()) for number, name in enumerate(TABS, 1)),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "no_filter", "No filter", show=False),
        Binding("s", "sort", "Sort"),
        Binding("d", "delete", "Delete"),
        Binding("r", "refresh", "Refresh"),
        Binding("t", "light", "Light"),
    ]

    def __init__(self, source: Source, purge: Callable[[str], str]) -> None:
        super().__init__()
        self._source = source
        self._purge = purge
        self._snapshot: Snapshot | None = None
        self._targets: list[TargetDir] = []
        self._build = ""
        self._sort = 0
        self._wanted = ""
        self._said: dict[str, str] = {}
        self._ends = threading.Event()

    @property
    def _main(self) -> Screen[object]:
        """The screen with the tabs, whatever question may lie over it."""
        return self.screen_stack[0]

    @property
    def has_looked(self) -> bool:
        """Whether there is something to show yet."""
        return self._snapshot is not None

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static("looking ...", id="summary", markup=False)
        yield Sparkline([0], id="hits")
        with TabbedContent(initial=TABS[0], id="tabs"):
            with TabPane("1 Builds", id="builds"), Vertical():
                yield _table("build-table", tables.BUILD_COLUMNS)
                yield Static("", id="running", markup=False)
                yield _table("unit-table", tables.UNIT_COLUMNS)
            with TabPane("2 Why", id="why"), Vertical():
                yield Static("causes of misses", classes="title")
                yield Static("", id="causes", classes="bars", markup=False)
                yield Static("passthroughs", classes="title")
                yield Static("", id="passthroughs", classes="bars", markup=False)
                yield _table("chronic-table", tables.CHRONIC_COLUMNS)
            with TabPane("3 Projects", id="projects"), Vertical():
                yield _table("project-table", tables.PROJECT_COLUMNS)
            with TabPane("4 Store", id="store"), Vertical():
                yield Static("", id="order", classes="title", markup=False)
                yield _table("store-table", tables.STORE_COLUMNS)
        yield Input(placeholder="filter: part of a name; Enter keeps it, Escape drops it", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._main.query_one("#build-table").focus()
        self._look()

    def on_unmount(self) -> None:
        """End the thread."""
        self._ends.set()

    async def action_quit(self) -> None:
        """End, and have the thread know first: it must not draw on what is taken down."""
        self._ends.set()
        self.exit()

    @work(thread=True, group="look")
    def _look(self) -> None:
        while not self._ends.is_set():
            snapshot = self._source.take()
            if self._ends.is_set():
                return
            self.call_from_thread(self._show, snapshot)
            self._ends.wait(LOOK_S)

    @work(thread=True, exclusive=True, group="measure")
    def _measure(self) -> None:
        if self._snapshot is None:
            return
        found = self._source.target_dirs(self._snapshot.report)
        if not self._ends.is_set():
            self.call_from_thread(self._show_targets, found)

    def _show_targets(self, found: list[TargetDir]) -> None:
        if self._ends.is_set():
            return
        self._targets = found
        self._draw(force=True)

    def _show(self, snapshot: Snapshot) -> None:
        if self._ends.is_set() or not self._main.query("#summary"):
            return  # about to end
        before, self._snapshot = self._snapshot, snapshot
        if before is None:
            self._measure()
        self._say("#summary", tables.summary(snapshot))
        self._say("#running", tables.running(snapshot.compiles, _BAR_WIDTH))
        changed = before is None or (before.report, before.running) != (snapshot.report, snapshot.running)
        self._draw(force=changed)

    def _say(self, name: str, text: str) -> None:
        """Each update is a new layout: none for what is said already."""
        if self._said.get(name) != text:
            self._said[name] = text
            self._main.query_one(name, Static).update(text)

    def _draw(self, *, force: bool) -> None:
        """Draw the tab that is seen; a table whose rows are what they were is left alone."""
        if self._snapshot is None or not force:
            return
        snapshot, wanted = self._snapshot, self._wanted
        self._main.query_one(Sparkline).data = list(snapshot.per_minute) or [0]
        tab = self._main.query_one(TabbedContent).active
        if tab == "builds":
            builds = tables.builds(snapshot, wanted)
            known = [line.key for line in builds]
            if self._build not in known:
                self._build = known[0] if known else ""
            self._fill("#build-table", builds)
            self._fill("#unit-table", tables.units(snapshot, self._build, wanted))
        elif tab == "why":
            report = snapshot.report
            self._main.query_one("#causes", Static).update(tables.counts(report.causes, _BAR_WIDTH))
            reasons = report.stats.passthrough_reasons
            self._main.query_one("#passthroughs", Static).update(tables.counts(reasons, _BAR_WIDTH))
            self._fill("#chronic-table", tables.chronic(snapshot, wanted))
        elif tab == "projects":
            self._fill("#project-table", tables.projects(self._targets, snapshot.now_ns, wanted))
        else:
            sort = tables.SORTS[self._sort]
            self._main.query_one("#order", Static).update(
                f"by {sort}; s for the next order, d deletes a crate's entries"
            )
            self._fill("#store-table", tables.store(snapshot, sort, wanted))

    def _fill(self, name: str, lines: Iterable[Line]) -> None:
        """Replace a table's rows; the cursor stays on the row it was on."""
        table = self._main.query_one(name, DataTable)
        at = table.cursor_row
        keys = [key.value for key in table.rows]
        key = keys[at] if 0 <= at < len(keys) else None
        scroll = table.scroll_y
        table.clear()
        new = 0
        for number, line in enumerate(lines):
            table.add_row(*(Text(cell, style=tables.colour_of(cell)) for cell in line.cells), key=line.key)
            if line.key == key:
                new = number
        table.move_cursor(row=new, animate=False, scroll=False)
        table.scroll_to(y=scroll, animate=False)

    # ---- keys and mouse

    def on_data_table_row_highlighted(self, event: DataTable.RowHighlighted) -> None:
        """The units below are those of the build the cursor is on."""
        key = str(event.row_key.value)
        if event.data_table.id == "build-table" and key and key != self._build and event.data_table.has_focus:
            self._build = key
            if self._snapshot is not None:
                self._fill("#unit-table", tables.units(self._snapshot, key, self._wanted))

    def on_tabbed_content_tab_activated(self) -> None:
        """Draw what was not seen until now."""
        self._draw(force=True)

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow while it is typed."""
        self._wanted = event.value.strip()
        self._draw(force=True)

    def on_input_submitted(self) -> None:
        """Back to the table."""
        self._focus_table()

    def action_tab(self, name: str) -> None:
        """Another tab."""
        self._main.query_one(TabbedContent).active = name
        self._focus_table()

    def action_filter(self) -> None:
        """Type a filter."""
        field = self._main.query_one("#filter", Input)
        field.add_class("shown")
        field.focus()

    def action_no_filter(self) -> None:
        """Drop it."""
        field = self._main.query_one("#filter", Input)
        field.value = ""
        field.remove_class("shown")
        self._focus_table()

    def action_sort(self) -> None:
        """The next order."""
        self._sort = (self._sort + 1) % len(tables.SORTS)
        self._draw(force=True)

    def action_refresh(self) -> None:
        """Measure the target directories again."""
        self._measure()
        self._draw(force=True)

    def action_light(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.theme != "textual-light" else "textual-dark"

    def action_delete(self) -> None:
        """Delete the entries of the crate the cursor is on."""
        table = self._main.query_one("#store-table", DataTable)
        if self._main.query_one(TabbedContent).active != "store" or not table.row_count:
            self.notify("delete works on entries: tab 4")
            return
        crate = str(table.get_row_at(table.cursor_row)[0])

        def answered(yes: bool | None) -> None:  # noqa: FBT001 - Textual passes it by position
            if yes:
                self._delete(crate)

        self.push_screen(Confirm(f"delete every entry of {crate}?"), answered)

    @work(thread=True, exclusive=True, group="delete")
    def _delete(self, crate: str) -> None:
        self.call_from_thread(self.notify, self._purge(crate))

    def _focus_table(self) -> None:
        tab = self._main.query_one(TabbedContent).active
        self._main.query_one(f"#{tab} DataTable", DataTable).focus()


def _table(name: str, columns: tuple[str, ...]) -> DataTable[Text]:
    table: DataTable[Text] = DataTable(id=name, cursor_type="row", zebra_stripes=True)
    for column in columns:
        table.add_column(column, key=column or "mark")
    return table
