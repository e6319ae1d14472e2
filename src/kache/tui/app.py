"""The monitor: six tabs, one filter, and a thread that waits for news."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Sparkline, Static, TabbedContent, TabPane

from kache.cargo.target_dirs import TargetDir
from kache.tui import estimate, plan_tables, search, tables, wire_tables
from kache.tui.confirm import Confirm
from kache.tui.source import Snapshot, Source
from kache.tui.styles import CSS, MIN_COLUMNS, MIN_ROWS
from kache.tui.tables import Line

BUSY_S = 0.5
IDLE_S = 2.0
"""Between two looks when nothing is told: at bars that grow; at an index that somebody without a daemon wrote."""
_BAR_WIDTH = 24
TABS = ("builds", "why", "projects", "store", "transfers", "planner")


class Monitor(App[None]):
    """See above.

    Args:
        source: of snapshots.
        purge: deletes the entries of one crate and says so.
        light: begin with the light theme.
    """

    TITLE = "kache"
    CSS = CSS
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        *(Binding(str(number), f"tab('{name}')", name.title(), show=False) for number, name in enumerate(TABS, 1)),
        Binding("slash", "filter", "Search", key_display="/", priority=True),
        Binding("escape", "no_filter", "No search", show=False),
        Binding("s", "sort", "Sort"),
        Binding("d", "delete", "Delete"),
        Binding("r", "refresh", "Measure"),
        Binding("t", "light", "Light"),
    ]

    def __init__(self, source: Source, purge: Callable[[str], str], *, light: bool = False) -> None:
        super().__init__()
        self._source = source
        self._purge = purge
        self._snapshot: Snapshot | None = None
        self._targets: list[TargetDir] | None = None
        self._measures = False
        self._build = self._newest = ""
        self._sorts = dict.fromkeys(TABS, 0)
        self._wanted = ""
        self._said: dict[str, str] = {}
        self._ends = threading.Event()
        if light:
            self.theme = "textual-light"

    @property
    def _main(self) -> Screen[object]:
        """The screen with the tabs, whatever question may lie over it."""
        return self.screen_stack[0]

    @property
    def has_looked(self) -> bool:
        """Whether there is something to show yet."""
        return self._snapshot is not None

    @property
    def _tab(self) -> str:
        return self._main.query_one(TabbedContent).active

    @property
    def _sort(self) -> str:
        return tables.SORTS[self._tab][self._sorts[self._tab]]

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static("", id="too-small", markup=False)
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
                yield Static("", id="project-order", classes="title", markup=False)
                yield _table("project-table", tables.PROJECT_COLUMNS)
            with TabPane("4 Store", id="store"), Vertical():
                yield Static("", id="order", classes="title", markup=False)
                yield _table("store-table", tables.STORE_COLUMNS)
            with TabPane("5 Transfers", id="transfers"), Vertical():
                yield Static("", id="wire", classes="bars", markup=False)
                yield Sparkline([0], id="received", classes="speed")
                yield Sparkline([0], id="sent", classes="speed")
                yield _table("moved-table", wire_tables.COLUMNS)
                yield _table("queue-table", wire_tables.QUEUE_COLUMNS)
            with TabPane("6 Planner", id="planner"), Vertical():
                yield Static("", id="plan", classes="bars", markup=False)
                yield _table("plan-table", plan_tables.COLUMNS)
        yield Input(placeholder="part of a name; Enter keeps it, Escape drops it", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        """Begin to look."""
        self._main.query_one("#build-table").focus()
        self._look()

    def on_resize(self, event: Resize) -> None:
        """Below the smallest size there is one sentence in place of half a screen."""
        columns, rows = event.size.width, event.size.height
        text = f"the terminal has {columns}x{rows} characters; the monitor needs {MIN_COLUMNS}x{MIN_ROWS}"
        self._say("#too-small", text)
        self._main.set_class(columns < MIN_COLUMNS or rows < MIN_ROWS, "too-small")

    def on_unmount(self) -> None:
        """End the threads."""
        self._end()

    async def action_quit(self) -> None:
        """End, and have the threads know first: they must not draw on what is taken down."""
        self._end()
        self.exit()

    def _end(self) -> None:
        self._ends.set()
        self._source.close()

    @work(thread=True, group="look")
    def _look(self) -> None:
        while not self._ends.is_set():
            snapshot = self._source.take()
            if self._ends.is_set():
                return
            self.call_from_thread(self._show, snapshot)
            self._source.wait(BUSY_S if snapshot.compiles else IDLE_S)

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
        self._draw()

    def _show(self, snapshot: Snapshot) -> None:
        if self._ends.is_set() or not self._main.query("#summary"):
            return  # about to end
        before, self._snapshot = self._snapshot, snapshot
        self._say("#summary", tables.summary(snapshot))
        estimates = estimate.estimates(snapshot.report, snapshot.running)
        self._say("#running", tables.running(snapshot.compiles, _BAR_WIDTH, estimates))
        if before is None or _differs(before, snapshot):
            self._draw()

    def _say(self, name: str, text: str) -> None:
        """Each update is a new layout: none for what is said already."""
        if self._said.get(name) != text:
            self._said[name] = text
            self._main.query_one(name, Static).update(text)

    def _draw(self) -> None:
        """Draw the tab that is seen."""
        if self._snapshot is None:
            return
        self._main.query_one("#hits", Sparkline).data = list(self._snapshot.per_minute) or [0]
        draw: dict[str, Callable[[Snapshot], None]] = {
            "builds": self._draw_builds,
            "why": self._draw_why,
            "projects": self._draw_projects,
            "store": self._draw_store,
            "transfers": self._draw_transfers,
            "planner": self._draw_planner,
        }
        draw[self._tab](self._snapshot)

    def _draw_builds(self, snapshot: Snapshot) -> None:
        builds = tables.builds(snapshot, self._wanted, self._sort)
        known = [line.key for line in builds]
        newest = known[0] if known else ""
        is_followed = self._sort == tables.SORTS["builds"][0] and self._build == self._newest
        if self._build not in known or is_followed:
            self._build = newest
        self._newest = newest
        self._fill("#build-table", builds, chosen=self._build)
        self._fill("#unit-table", tables.units(snapshot, self._build, self._wanted))

    def _draw_why(self, snapshot: Snapshot) -> None:
        report = snapshot.report
        self._say("#causes", tables.counts(report.causes, _BAR_WIDTH))
        self._say("#passthroughs", tables.counts(report.stats.passthrough_reasons, _BAR_WIDTH))
        self._fill("#chronic-table", tables.chronic(snapshot, self._wanted, self._sort))

    def _draw_projects(self, snapshot: Snapshot) -> None:
        if self._targets is None and not self._measures:
            self._measures = True
            self._measure()
        order = tables.order(snapshot, "projects", self._sort, self._wanted)
        self._say("#project-order", order if self._targets is not None else "measuring the target directories ...")
        lines = tables.projects(self._targets or (), snapshot.now_ns, self._wanted, self._sort)
        self._fill("#project-table", lines)

    def _draw_store(self, snapshot: Snapshot) -> None:
        self._say("#order", tables.order(snapshot, "store", self._sort, self._wanted))
        self._fill("#store-table", tables.store(snapshot, self._sort, self._wanted))

    def _draw_transfers(self, snapshot: Snapshot) -> None:
        self._say("#wire", wire_tables.summary(snapshot, self._source.config))
        self._main.query_one("#received", Sparkline).data = list(snapshot.wire.received)
        self._main.query_one("#sent", Sparkline).data = list(snapshot.wire.sent)
        self._fill("#moved-table", wire_tables.moved(snapshot, self._wanted, self._sort))
        self._fill("#queue-table", wire_tables.queue(snapshot, self._wanted))

    def _draw_planner(self, snapshot: Snapshot) -> None:
        self._say("#plan", plan_tables.summary(snapshot, self._source.config))
        self._fill("#plan-table", plan_tables.units(snapshot, self._wanted, self._sort))

    def _fill(self, name: str, lines: Iterable[Line], *, chosen: str = "") -> None:
        """Replace a table's rows; the cursor stays on the row it was on, or goes to the one that is chosen."""
        table = self._main.query_one(name, DataTable)
        at = table.cursor_row
        keys = [key.value for key in table.rows]
        key = chosen or (keys[at] if 0 <= at < len(keys) else None)
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

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """A click on a heading sorts by it, where the tab has such an order."""
        heading = str(event.label)
        word = tables.COLUMN_SORTS.get(heading, heading)
        orders = tables.SORTS[self._tab]
        if word == "took" and self._tab == "builds":
            word = "longest"
        if word in orders:
            self._sorts[self._tab] = orders.index(word)
            self._draw()

    def on_tabbed_content_tab_activated(self) -> None:
        """Draw what was not seen until now."""
        self._draw()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow while it is typed."""
        self._wanted = event.value.strip()
        self._draw()

    def on_input_submitted(self) -> None:
        """Back to the table."""
        self._focus_table()

    def action_tab(self, name: str) -> None:
        """Another tab."""
        self._main.query_one(TabbedContent).active = name
        self._focus_table()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether a key is for its action now."""
        return action != "filter" or search.may_begin(self)

    def action_filter(self) -> None:
        """Type a filter."""
        search.begin(self, self._main.query_one("#filter", Input))

    def action_no_filter(self) -> None:
        """Drop it."""
        field = self._main.query_one("#filter", Input)
        field.value = ""
        field.remove_class("shown")
        self._focus_table()

    def action_sort(self) -> None:
        """The next order of this tab."""
        tab = self._tab
        self._sorts[tab] = (self._sorts[tab] + 1) % len(tables.SORTS[tab])
        if tab in ("builds", "why", "transfers", "planner"):
            self.notify(f"by {self._sort}", timeout=2)
        self._draw()

    def action_refresh(self) -> None:
        """Measure the target directories again."""
        self._measure()
        self._draw()

    def action_light(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.theme != "textual-light" else "textual-dark"

    def action_delete(self) -> None:
        """Delete the entries of the crate the cursor is on."""
        table = self._main.query_one("#store-table", DataTable)
        if self._tab != "store" or not table.row_count:
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
        self._main.query_one(f"#{self._tab} DataTable", DataTable).focus()


def _differs(before: Snapshot, after: Snapshot) -> bool:
    """Whether the tables would show something else; their ages alone are not worth a drawing."""
    return (before.report, before.running, before.wire, plan_tables.plan_of(before)) != (
        after.report,
        after.running,
        after.wire,
        plan_tables.plan_of(after),
    ) or (before.daemon is None) != (after.daemon is None)


def _table(name: str, columns: tuple[str, ...]) -> DataTable[Text]:
    table: DataTable[Text] = DataTable(id=name, cursor_type="row", zebra_stripes=True)
    for column in columns:
        table.add_column(column, key=column or "mark")
    return table
