"""A line to type into that offers whole lines: Tab takes the offer under the mark, the arrows move the mark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.widgets import Input, Static

from workbench.tui.render.tokens import fit, show_text
from workbench.tui.widgets.inert_input import InertInput
from workbench.tui.widgets.line_list import CURSOR

_PROMPT = " edit › "


class _Line(InertInput):
    """The input; keys that it does not know are the edit line's."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "take", "complete"),
        Binding("down", "mark(1)", "next offer", show=False),
        Binding("up", "mark(-1)", "offer before", show=False),
        Binding("escape", "leave", "board"),
    ]

    def action_take(self) -> None:
        """Take the offer, or go on to the next part where there is none."""
        if not self._edit_line.take():
            self.screen.focus_next()

    def action_mark(self, by: int) -> None:
        """Move the mark."""
        self._edit_line.mark(by)

    def action_leave(self) -> None:
        """Leave the line as it is."""
        self.post_message(EditLine.Left(self._edit_line))

    @property
    def _edit_line(self) -> EditLine:
        return next(node for node in self.ancestors if isinstance(node, EditLine))


class EditLine(Vertical):
    """The line, and under it, over what stands there, what is wrong with it or what it could become."""

    SCOPED_CSS = False  # the screen says whether it is narrow
    DEFAULT_CSS = """
    EditLine { height: auto; }
    EditLine Horizontal { height: 1; }
    EditLine #edit-prompt { width: 8; text-style: bold; }
    EditLine Input { width: 1fr; }
    EditLine #edit-below { height: auto; overlay: screen; background: $panel; }
    EditLine #edit-fault { height: auto; max-height: 3; color: $error; display: none; }
    EditLine #edit-offers { height: auto; max-height: 8; display: none; }
    .-narrow EditLine #edit-offers { max-height: 5; }
    """

    @dataclass
    class Changed(Message):
        """Something was typed."""

        edit_line: EditLine
        text: str

        @property
        def control(self) -> EditLine:
            """The line."""
            return self.edit_line

    @dataclass
    class Entered(Message):
        """Enter."""

        edit_line: EditLine
        text: str

        @property
        def control(self) -> EditLine:
            """The line."""
            return self.edit_line

    @dataclass
    class Left(Message):
        """Escape."""

        edit_line: EditLine

        @property
        def control(self) -> EditLine:
            """The line."""
            return self.edit_line

    def __init__(self, hint: str, *, id: str | None = None) -> None:
        """An empty line with a dim `hint` in it."""
        super().__init__(id=id)
        self._hint = hint
        self._offers: Sequence[tuple[str, str]] = ()
        self._marked = 0
        self._said = {"fault": "", "offers": ""}

    def compose(self) -> ComposeResult:
        """The line and what stands under it."""
        with Horizontal():
            yield Static(Text(_PROMPT), id="edit-prompt")
            yield _Line(placeholder=self._hint, compact=True)
        with Vertical(id="edit-below"):
            yield Static("", id="edit-fault")
            yield Static("", id="edit-offers")

    @property
    def text(self) -> str:
        """What the line means."""
        return self.query_one(_Line).meant

    @text.setter
    def text(self, text: str) -> None:
        line = self.query_one(_Line)
        line.value = text
        line.cursor_position = len(line.value)

    @property
    def is_typed_in(self) -> bool:
        """Whether it has the focus."""
        return self.query_one(_Line).has_focus

    def type_here(self) -> None:
        """Take the focus; what was left half-typed gives way to what is typed, or stays if the cursor is moved."""
        line = self.query_one(_Line)
        line.focus()
        line.select_all()

    def show_fault(self, words: str, at: int | None = None) -> None:
        """Say what is wrong, under the character `at`; nothing with empty words."""
        column = 0 if at is None else cell_len(_PROMPT) + cell_len(show_text(self.text[:at]))
        shown = show_text(words)
        fits = at is not None and column + cell_len(shown) + 2 <= self.size.width
        self._say("fault", (" " * column + f"↑ {shown}" if fits else f" {shown}") if words else "")

    def show_offers(self, offers: Sequence[tuple[str, str]]) -> None:
        """Show whole lines, each with what it means (inert)."""
        self._offers, self._marked = offers, 0
        self._draw_offers()

    def take(self) -> bool:
        """Make the line the marked offer; whether there was one."""
        if not self._offers:
            return False
        self.text = self._offers[self._marked][0]
        return True

    def mark(self, by: int) -> None:
        """Move the mark to another offer."""
        if self._offers:
            self._marked = (self._marked + by) % len(self._offers)
            self._draw_offers()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Tell what was typed."""
        event.stop()
        self.post_message(self.Changed(self, self.text))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Tell that it is meant."""
        event.stop()
        self.post_message(self.Entered(self, self.text))

    def _draw_offers(self) -> None:
        width = max(self.size.width - len(_PROMPT), 20)
        names = max((cell_len(show_text(line)) for line, _ in self._offers), default=0)
        lines = []
        for number, (line, words) in enumerate(self._offers):
            mark = CURSOR if number == self._marked else " "
            name = fit(show_text(line), width)
            room = width - min(names, width) - 2
            lines.append(f"{' ' * (len(_PROMPT) - 1)}{mark}{name:<{min(names, width)}}  {fit(words, max(room, 0))}")
        self._say("offers", "\n".join(lines))

    def _say(self, part: str, words: str) -> None:
        """Put words under the line; the screen is laid out anew only where their height may have changed."""
        before, self._said[part] = self._said[part], words
        if words != before:
            shown = self.query_one(f"#edit-{part}", Static)
            shown.display = bool(words)
            wraps = part == "fault"
            text = Text(words) if wraps else Text(words, no_wrap=True, overflow="ellipsis")
            shown.update(text, layout=wraps or words.count("\n") != before.count("\n"))
