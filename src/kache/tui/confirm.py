"""A question in the middle of the screen."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static


class Confirm(ModalScreen[bool]):
    """Yes only by `y`: everything else is a no.

    Args:
        question: what it is about.
    """

    CSS = """
    Confirm { align: center middle; }
    Confirm Vertical { width: auto; max-width: 70; height: auto; padding: 1 2; border: thick $error; }
    Confirm Vertical { background: $surface; }
    Confirm Static { width: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", "Yes"),
        Binding("n,escape,enter,q", "answer(False)", "No"),
    ]

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        """The question and its keys."""
        with Vertical():
            yield Static(self._question, markup=False)
            yield Static("y deletes, any of n, Enter, Escape does not", markup=False)

    def action_answer(self, yes: bool) -> None:  # noqa: FBT001 - Textual passes it by position
        """End with an answer."""
        self.dismiss(yes)
