"""One line asked of the person: a prompt, a name, a number, a path."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from store.errors import BadInput
from workbench.tui.widgets.inert_input import InertInput, meant_form


class Question(ModalScreen[str | None]):
    """Asks for a line; the answer is the line, or None if the person escapes. `check` raises `BadInput` to refuse."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "leave")]
    DEFAULT_CSS = """
    Question { align: center middle; }
    Question > Vertical { width: 90%; max-width: 100; height: auto; border: round $primary;
        padding: 0 1; background: $surface; }
    Question Static { height: auto; }
    Question #fault { color: $error; }
    """

    def __init__(
        self, words: str, value: str = "", hint: str = "", check: Callable[[str], object] | None = None
    ) -> None:
        """Ask `words`, with `value` already in the line and a dim `hint` in it when it is empty."""
        super().__init__()
        self._words, self._value, self._hint, self._check = words, value, hint, check

    def compose(self) -> ComposeResult:
        """The question, the line, and room for what is wrong with it."""
        with Vertical():
            yield Static(Text(self._words, style="bold"))
            yield InertInput(self._value, self._hint)
            yield Static("", id="fault")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Take the line if it is sound."""
        event.stop()
        answer = meant_form(event.value)
        try:
            if self._check is not None:
                self._check(answer)
        except BadInput as error:
            self.query_one("#fault", Static).update(Text(str(error)))
            return
        self.dismiss(answer)

    def action_leave(self) -> None:
        """No answer."""
        self.dismiss(None)
