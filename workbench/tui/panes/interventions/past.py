"""Boards that were, so that a change can be taken back."""

from __future__ import annotations

from dataclasses import dataclass, field

from workbench.tui.panes.interventions.board import Board

_KEPT = 100


@dataclass
class Past:
    """What was before, and what was taken back."""

    before: list[Board] = field(default_factory=list)
    after: list[Board] = field(default_factory=list)

    def keep(self, board: Board) -> None:
        """A new board takes this one's place."""
        self.before = [*self.before, board][-_KEPT:]
        self.after.clear()

    def back(self, board: Board) -> Board | None:
        """The board before this one; None at the beginning."""
        if not self.before:
            return None
        self.after.append(board)
        return self.before.pop()

    def forward(self, board: Board) -> Board | None:
        """The board that was taken back; None at the end."""
        if not self.after:
            return None
        self.before.append(board)
        return self.after.pop()
