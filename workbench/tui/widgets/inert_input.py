"""A line to type or paste into whose text cannot act on the terminal.

Textual draws the text of an `Input` as it is (TERMINAL.md, rule 1): a pasted escape sequence would reach the terminal.
"""

from __future__ import annotations

import unicodedata

from textual import events
from textual.widgets import Input

LONGEST = 10_000
"""Characters in a line; a longer prompt is one for the command line."""
LINE_END, TAB = "⏎", "⇥"
"""What stand in the line for the two control characters that a prompt may well hold."""


def typed_form(text: str) -> str:
    """`text` as it may stand in the line: line ends and tabs as glyphs, what cannot be seen left out."""
    shown = text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", LINE_END).replace("\t", TAB)
    return "".join(c for c in shown if c.isprintable() or unicodedata.category(c) == "Zs")


def meant_form(typed: str) -> str:
    """The text that a typed line means: its glyphs made line ends and tabs again."""
    return typed.replace(LINE_END, "\n").replace(TAB, "\t")


class InertInput(Input):
    """An `Input` that takes all lines of a paste as one and leaves out what cannot be seen."""

    def __init__(self, value: str = "", placeholder: str = "", *, compact: bool = False, id: str | None = None) -> None:
        """`placeholder` is inert."""
        super().__init__(
            typed_form(value), placeholder, compact=compact, select_on_focus=False, max_length=LONGEST, id=id
        )

    @property
    def meant(self) -> str:
        """The text that the line means."""
        return meant_form(self.value)

    def validate_value(self, value: str) -> str:
        """Whoever sets it."""
        return typed_form(value)

    def replace(self, text: str, start: int, end: int) -> None:
        """Whatever comes in, typed or pasted, comes this way."""
        super().replace(typed_form(text), start, end)

    def restricted(self) -> None:
        """More than the line takes: nothing was taken."""
        words = f"a line takes {LONGEST} characters: run a longer prompt from the command line"
        self.app.notify(words, severity="error", markup=False)

    def _on_paste(self, event: events.Paste) -> None:
        """Every line of it."""
        start, end = self.selection
        self.replace(event.text, min(start, end), max(start, end))
        event.stop()
        event.prevent_default()
