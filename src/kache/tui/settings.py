"""`kache config tui`: the settings as a table, with what each means, and a line to change one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Input, Static

from kache.tui import search

COLUMNS = ("setting", "value", "from")


@dataclass(frozen=True, slots=True)
class Row:
    """One setting.

    Attributes:
        value: to be read at a glance.
        exact: as it would be written.
        origin: where it comes from.
        choices: the words it may be; empty where more is possible.
        why_not: why a file cannot set it; empty if it can.
        is_here: it comes from the file that is changed.
    """

    name: str
    value: str
    exact: str
    origin: str
    doc: str
    kind: str
    env: str
    choices: tuple[str, ...]
    why_not: str
    is_here: bool


class Settings(Protocol):
    """Where they are."""

    @property
    def file(self) -> str:
        """The file that is changed."""

    def rows(self) -> list[Row]:
        """Every setting as it is now."""

    def problem(self, name: str, text: str) -> str:
        """What is wrong with a value; empty if it would do."""

    def put(self, name: str, text: str) -> str:
        """Write a value; what to say about it, empty if all is well."""

    def remove(self, name: str) -> str:
        """Take a value out of the file; what to say about it, empty if all is well."""


class SettingsEditor(App[None]):
    """See above; each change is written at once.

    Args:
        settings: what is shown and changed.
    """

    TITLE = "kache config"
    CSS = """
    Screen { overflow: hidden; }
    #file { height: 1; padding: 0 1; background: $panel; }
    DataTable { height: 1fr; }
    #about { height: auto; min-height: 4; max-height: 8; padding: 0 1; border-top: solid $panel; }
    #said { height: auto; max-height: 3; padding: 0 1; color: $text-warning; }
    #value, #search { display: none; height: 3; }
    #value.shown, #search.shown { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("enter", "change", "Change", show=True),
        Binding("space", "next_choice", "Next choice"),
        Binding("u", "unset", "Unset"),
        Binding("slash", "search", "Search", key_display="/", priority=True),
        Binding("escape", "leave", "Back", show=False),
        Binding("t", "light", "Light"),
    ]

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings
        self._rows: dict[str, Row] = {}
        self._wanted = ""

    def compose(self) -> ComposeResult:
        """The widgets, from top to bottom."""
        yield Static(f"changes go to {self._settings.file}", id="file", markup=False)
        table: DataTable[Text] = DataTable(cursor_type="row", zebra_stripes=True)
        for column in COLUMNS:
            table.add_column(column, key=column)
        yield table
        yield Static("", id="about", markup=False)
        yield Static("", id="said", markup=False)
        yield Input(id="value")
        yield Input(id="search", placeholder="part of a name or of what it means; Enter keeps it, Escape drops it")
        yield Footer()

    def on_mount(self) -> None:
        """Show them."""
        self._fill()
        self.query_one(DataTable).focus()

    @property
    def _chosen(self) -> Row | None:
        table = self.query_one(DataTable)
        if not table.row_count:
            return None
        return self._rows[str(table.get_row_at(table.cursor_row)[0])]

    def _fill(self) -> None:
        table = self.query_one(DataTable)
        at = table.cursor_row
        table.clear()
        self._rows = {row.name: row for row in self._settings.rows()}
        for row in self._rows.values():
            if self._wanted in f"{row.name} {row.doc}".lower():
                style = "bold" if row.origin != "default" else ""
                table.add_row(*(Text(cell, style=style) for cell in (row.name, row.value, row.origin)), key=row.name)
        if table.row_count:
            table.move_cursor(row=min(at, table.row_count - 1), animate=False)
        self._tell()

    def _tell(self) -> None:
        row = self._chosen
        if row is None:
            self.query_one("#about", Static).update("no setting is called like that")
            return
        kind = ", ".join(row.choices) if row.choices else row.kind
        lines = [row.doc, f"{row.name}: {kind}; in the environment {row.env}"]
        if row.why_not:
            lines.append(f"not in a file: {row.why_not}")
        self.query_one("#about", Static).update("\n".join(lines))

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(text)

    # ---- keys and mouse

    def on_data_table_row_highlighted(self) -> None:
        """Say what the one under the cursor means."""
        self._tell()

    def on_data_table_row_selected(self) -> None:
        """Enter, or a click on the row the cursor is on."""
        self.action_change()

    def action_change(self) -> None:
        """Type a new value."""
        row = self._chosen
        if row is None or self._refuses(row):
            return
        field = self.query_one("#value", Input)
        field.border_title = row.name
        field.value = row.exact
        field.add_class("shown")
        field.focus()
        self._say("Enter saves, Escape leaves it as it is")

    def action_next_choice(self) -> None:
        """The next of the words it may be."""
        row = self._chosen
        if row is None or self._refuses(row):
            return
        if not row.choices:
            self.action_change()
            return
        at = row.choices.index(row.exact) if row.exact in row.choices else -1
        self._put(row.name, row.choices[(at + 1) % len(row.choices)])

    def action_unset(self) -> None:
        """Out of the file."""
        row = self._chosen
        if row is not None:
            self._say(self._settings.remove(row.name) or f"{row.name} is no longer set here")
            self._fill()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Whether a key is for its action now."""
        return action != "search" or search.may_begin(self)

    def action_search(self) -> None:
        """Narrow the table."""
        search.begin(self, self.query_one("#search", Input))

    def action_leave(self) -> None:
        """Leave a line as if nothing had been typed."""
        for name in ("#value", "#search"):
            self.query_one(name, Input).remove_class("shown")
        self.query_one("#search", Input).value = ""
        self._say("")
        self.query_one(DataTable).focus()

    def action_light(self) -> None:
        """Light or dark."""
        self.theme = "textual-light" if self.theme != "textual-light" else "textual-dark"

    def on_input_changed(self, event: Input.Changed) -> None:
        """Narrow, or judge, while it is typed."""
        if event.input.id == "search":
            self._wanted = event.value.strip().lower()
            self._fill()
        elif event.input.has_class("shown") and (row := self._chosen) is not None:
            self._say(self._settings.problem(row.name, event.value) or "Enter saves, Escape leaves it as it is")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Save, if it is right."""
        row = self._chosen
        if event.input.id == "value" and row is not None:
            problem = self._settings.problem(row.name, event.value)
            if problem:
                self._say(problem)
                return
            event.input.remove_class("shown")
            self._put(row.name, event.value)
        self.query_one(DataTable).focus()

    def _put(self, name: str, text: str) -> None:
        self._say(self._settings.put(name, text) or f"{name} = {text}, saved")
        self._fill()

    def _refuses(self, row: Row) -> bool:
        if row.why_not:
            self._say(row.why_not)
        return bool(row.why_not)
