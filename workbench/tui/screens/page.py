"""A page of text over the panes: help, a graph's difference, a log. Scrolls; escape leaves."""

from __future__ import annotations

from typing import ClassVar

from rich.console import RenderableType
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static


class Page(ModalScreen[None]):
    """Something to read."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,question_mark,f1", "leave", "leave"),
    ]
    DEFAULT_CSS = """
    Page { align: center middle; }
    Page > Vertical { width: 94%; max-width: 120; height: 90%; border: round $primary;
        background: $surface; padding: 0 1; }
    Page VerticalScroll { height: 1fr; }
    Page .page--title { text-style: bold; height: 1; }
    """

    def __init__(self, title: str, body: RenderableType) -> None:
        """`title` and `body` are inert."""
        super().__init__()
        self._title, self._body = title, body

    def compose(self) -> ComposeResult:
        """Title, text, and how to leave."""
        with Vertical():
            yield Static(Text(f"{self._title}  (esc leaves)"), classes="page--title")
            with VerticalScroll():
                yield Static(self._body)

    def action_leave(self) -> None:
        """Back to the panes."""
        self.dismiss(None)
