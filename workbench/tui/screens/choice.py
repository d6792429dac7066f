"""One of several, asked of the person: a dictionary, a graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from workbench.tui.widgets.line_list import LineList, TextLines


class Choice(ModalScreen[int | None]):
    """Shows lines; the answer is the number of the one that was chosen, or None if the person escapes."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "leave")]
    DEFAULT_CSS = """
    Choice { align: center middle; }
    Choice > Vertical { width: 90%; max-width: 100; height: auto; max-height: 80%; border: round $primary;
        padding: 0 1; background: $surface; }
    Choice Static { height: auto; text-style: bold; }
    """

    def __init__(self, words: str, lines: Sequence[Text], chosen: int = 0) -> None:
        """Ask `words`, with the cursor on the line `chosen`. All are inert."""
        super().__init__()
        self._words, self._lines, self._chosen = words, lines, chosen

    def compose(self) -> ComposeResult:
        """The question and the lines."""
        with Vertical():
            yield Static(Text(f"{self._words}  (⏎ chooses, esc leaves)"))
            yield LineList()

    def on_mount(self) -> None:
        """As high as the lines need."""
        lines = self.query_one(LineList)
        lines.styles.height = max(min(len(self._lines), self.app.size.height - 8), 1)
        lines.show(TextLines(list(self._lines)), self._chosen)
        lines.focus()

    @on(LineList.Moved)
    def _keep(self, message: LineList.Moved) -> None:
        message.stop()

    @on(LineList.Chosen)
    def _choose(self, message: LineList.Chosen) -> None:
        """This one."""
        message.stop()
        self.dismiss(message.index)

    def action_leave(self) -> None:
        """None of them."""
        self.dismiss(None)
