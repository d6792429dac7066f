"""The first line of the app: the panes, the project, and how the worker is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from workbench.tui.render.tokens import fit


class Masthead(Widget):
    """`1 Baselines  2 Features  3 Graph  4 Interventions … demo  SmolLM2  worker idle`; a click opens a pane."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "Masthead { height: 1; background: $panel; }"
    current: reactive[str] = reactive("")
    about: reactive[str] = reactive("")
    """The right end: project, model, worker. Inert."""

    @dataclass
    class Picked(Message):
        """A pane was clicked."""

        name: str

    def __init__(self, panes: Sequence[tuple[str, str]]) -> None:
        """`panes`: (name, title), in the order of their number keys."""
        super().__init__()
        self._panes = panes

    def render(self) -> Text:
        """The line; where it is too long, the right end gives way."""
        line = Text(no_wrap=True)
        for number, (name, title) in enumerate(self._panes, start=1):
            line.append(self._label(number, title), style="bold reverse" if name == self.current else "")
        about = fit(self.about, max(self.size.width - cell_len(line.plain) - 2, 0))
        gap = self.size.width - cell_len(line.plain) - cell_len(about) - 1
        line.append(" " * max(gap, 1))
        return line.append(about, style="dim")

    def on_click(self, event: events.Click) -> None:
        """Find the pane under the pointer."""
        at = 0
        for number, (name, title) in enumerate(self._panes, start=1):
            at += cell_len(self._label(number, title))
            if event.x < at:
                self.post_message(self.Picked(name))
                return

    def _label(self, number: int, title: str) -> str:
        return f" {number} {title} "


def short_spec(spec: str) -> str:
    """A model as it is named in the first line: a directory or a file by its name alone."""
    return Path(spec).name if spec.startswith(("/", "~", ".")) else spec
