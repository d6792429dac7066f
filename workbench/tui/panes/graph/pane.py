"""Graph."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from workbench.tui.pane import Pane
from workbench.tui.widgets.line_list import LineList


class Graph(Pane):
    """Graph."""

    TITLE: ClassVar[str] = "Graph"

    def compose(self) -> ComposeResult:
        """A list."""
        yield LineList(empty="nothing here yet")
