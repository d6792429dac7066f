"""Interventions."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult

from workbench.tui.messages import EditsSent
from workbench.tui.pane import Pane
from workbench.tui.widgets.line_list import LineList


class Interventions(Pane):
    """Interventions."""

    TITLE: ClassVar[str] = "Interventions"

    def compose(self) -> ComposeResult:
        """A list."""
        yield LineList(empty="nothing here yet")

    async def take_edits(self, sent: EditsSent) -> None:
        """Put edits that another pane sends into the board."""
