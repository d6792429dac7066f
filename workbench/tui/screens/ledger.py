"""The findings ledger: what was kept, newest first; Enter goes to where it was found."""

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

from store.findings import Finding
from workbench.tui.place import Place
from workbench.tui.render.findings import finding_line, provenance_words
from workbench.tui.widgets.line_list import LineList, TextLines


class Ledger(ModalScreen[Place | None]):
    """The list of findings; its answer is the place that a chosen one came from."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "leave", "leave")]
    DEFAULT_CSS = """
    Ledger { align: center middle; }
    Ledger > Vertical { width: 94%; height: 80%; border: round $primary; background: $surface; padding: 0 1; }
    Ledger .ledger--title { text-style: bold; height: 1; }
    Ledger #ledger-provenance { height: 3; color: $text-muted; }
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        """`findings`, newest first."""
        super().__init__()
        self._findings = findings

    def compose(self) -> ComposeResult:
        """Title, findings, where the one under the cursor comes from."""
        with Vertical():
            yield Static(Text("Findings  (⏎ goes there, esc leaves)"), classes="ledger--title")
            lines = [finding_line(finding) for finding in self._findings]
            yield LineList(TextLines(lines), empty="nothing kept yet: ! keeps the number under the cursor")
            yield Static("", id="ledger-provenance")

    @on(LineList.Moved)
    def _show_provenance(self, message: LineList.Moved) -> None:
        """Where the finding comes from."""
        self.query_one("#ledger-provenance", Static).update(Text(provenance_words(self._findings[message.index])))

    @on(LineList.Chosen)
    def _go(self, message: LineList.Chosen) -> None:
        """To where it was found."""
        self.dismiss(Place.read(self._findings[message.index].provenance))

    def action_leave(self) -> None:
        """Back to the panes."""
        self.dismiss(None)
