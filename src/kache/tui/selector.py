"""Rows to be ticked: which of them is something to be done with?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.coordinate import Coordinate
from textual.widgets import DataTable, Footer, Static

from kache.reports.render.text import human_bytes, plural

_TICKED, _FREE = "[x]", "[ ]"


class Selector(App[list[int]]):
    """Ends with the positions of the ticked rows; with none at all when it is left.

    Args:
        question: above the rows.
        headings: of the columns.
        rows: their cells.
        sizes: bytes of each row, added up while it is ticked.
        verb: what Enter does: "delete".
    """

    TITLE = "kache"
    CSS = """
    Screen { overflow: hidden; }
    #question { height: 1; padding: 0 1; background: $panel; }
    #chosen { height: 1; padding: 0 1; color: $text-muted; }
    DataTable { height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "tick", "Tick"),
        Binding("a", "all", "All"),
        Binding("enter", "done", "Do it", priority=True),
        Binding("q,escape", "leave", "Leave"),
        Binding("ctrl+c", "interrupt", "Leave", show=False, priority=True),
        Binding("t", "light", "Light"),
    ]

    def __init__(
        self, question: str, headings: Sequence[str], rows: Sequence[Sequence[str]], sizes: Sequence[int], verb: str
    ) -> None:
        super().__init__()
        self._question, self._headings, self._lines = question, headings, rows
        self._sizes = sizes
        self._verb = verb
        self._chosen: set[int] = set()
        self.was_interrupted = False

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static(self._question, id="question", markup=False)
        table: DataTable[Text] = DataTable(cursor_type="row", zebra_stripes=True)
        table.add_columns("", *self._headings)
        for cells in self._lines:
            table.add_row(Text(_FREE), *(Text(cell) for cell in cells))
        yield table
        yield Static("", id="chosen", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        """Begin at the first row."""
        self.query_one(DataTable).focus()
        self._tell()

    def on_data_table_cell_selected(self) -> None:
        """A click ticks."""
        self.action_tick()

    def on_data_table_row_selected(self) -> None:
        """A click on the row the cursor is on ticks it."""
        self.action_tick()

    def action_tick(self) -> None:
        """Tick the row the cursor is on, or take the tick away; on to the next."""
        table = self.query_one(DataTable)
        self._chosen ^= {table.cursor_row}
        self._mark(table.cursor_row)
        table.move_cursor(row=min(table.cursor_row + 1, table.row_count - 1))
        self._tell()

    def action_all(self) -> None:
        """Tick all; if all are ticked, none."""
        every = set(range(len(self._lines)))
        self._chosen = set() if self._chosen == every else every
        for row in every:
            self._mark(row)
        self._tell()

    def action_done(self) -> None:
        """End with what is ticked."""
        self.exit(sorted(self._chosen))

    def action_leave(self) -> None:
        """End with nothing."""
        self.exit([])

    def action_interrupt(self) -> None:
        """The same, by Ctrl-C."""
        self.was_interrupted = True
        self.exit([])

    def action_light(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.theme != "textual-light" else "textual-dark"

    def _mark(self, row: int) -> None:
        mark = Text(_TICKED, style="bold red") if row in self._chosen else Text(_FREE)
        self.query_one(DataTable).update_cell_at(Coordinate(row, 0), mark)

    def _tell(self) -> None:
        size = human_bytes(sum(self._sizes[at] for at in self._chosen))
        text = f"{plural(len(self._chosen), 'row')} ticked, {size}; Enter: {self._verb}, Escape: leave all as it is"
        self.query_one("#chosen", Static).update(text)
