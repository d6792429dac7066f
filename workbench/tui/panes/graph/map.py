"""The layer × token map with a cursor: arrows and clicks go from cell to cell, Enter opens a cell's nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from workbench.tui.render.token_map import MapCell, Place, cell_words, map_rows, position_at
from workbench.tui.render.tokens import fit, show_token


class CellMap(Widget, can_focus=True):
    """The map of the graph on the screen."""

    ALLOW_SELECT = False
    DEFAULT_CSS = "CellMap { height: 1fr; padding: 0 1; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(1, 0)", "a layer up", show=False),
        Binding("down,j", "move(-1, 0)", "a layer down", show=False),
        Binding("left", "move(0, -1)", "a token back", show=False),
        Binding("right", "move(0, 1)", "a token on", show=False),
        Binding("enter", "choose", "open the cell", show=False),
    ]

    @dataclass
    class Chosen(Message):
        """Enter, or a click on the cell under the cursor."""

        place: Place

    @dataclass
    class Moved(Message):
        """The cursor has come to another cell."""

        place: Place

        def can_replace(self, message: Message) -> bool:
            """Only where it came to rest counts."""
            return isinstance(message, CellMap.Moved)

    def __init__(self, *, id: str | None = None) -> None:
        """Empty until `show`."""
        super().__init__(id=id)
        self._cells: Mapping[Place, MapCell] = {}
        self._tokens: Sequence[str] = ()
        self.here: Place = (-1, -1)

    def show(self, cells: Mapping[Place, MapCell], tokens: Sequence[str], here: Place | None = None) -> None:
        """Show other cells, the cursor on `here` if something lies there, else where it was or on the strongest."""
        self._cells, self._tokens = cells, tokens
        places = [place for place in (here, self.here) if place in cells]
        strongest = max(cells, key=lambda place: abs(cells[place].value or 0.0), default=(-1, -1))
        self.here = places[0] if places and places[0] is not None else strongest
        self.refresh()
        self.post_message(self.Moved(self.here))

    def render(self) -> Text:
        """As many layers as there is room for, around the cursor; the tokens always; what lies under the cursor."""
        width, height = self.content_size
        if not self._cells:
            return Text("no features or errors are drawn", style="dim")
        rows = self._window(width, height)
        layer, position = self.here
        token = show_token(self._tokens[position]) if 0 <= position < len(self._tokens) else ""
        words = f"L{layer} @{position} {token}: {cell_words(self._cells.get(self.here))}"
        return Text("\n").join([*(text for _, text in rows), Text(fit(words, width), style="bold")])

    def _window(self, width: int, height: int) -> list[tuple[int | None, Text]]:
        rows = map_rows(self._cells, self._tokens, width, self.here, follow=True)
        body, labels = rows[:-1], rows[-1:]
        room = max(height - 2, 1)
        at = next((index for index, (layer, _) in enumerate(body) if layer == self.here[0]), 0)
        first = max(0, min(at - room // 2, len(body) - room))
        return [*body[first : first + room], *labels]

    def action_move(self, layers: int, tokens: int) -> None:
        """To the next layer that has something, or the next token."""
        layer, position = self.here
        if layers:
            present = sorted({place[0] for place in self._cells})
            if layer in present:
                layer = present[max(0, min(present.index(layer) + layers, len(present) - 1))]
        position = max(0, min(position + tokens, len(self._tokens) - 1))
        self._go((layer, position))

    def action_choose(self) -> None:
        """Open what lies here."""
        self.post_message(self.Chosen(self.here))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; one on the cell under it opens it."""
        width, height = self.content_size
        rows, y = self._window(width, height), event.y - self.content_offset.y + self.region.y
        position = position_at(len(self._tokens), width, self.here, event.x - 1)
        layer = rows[y][0] if 0 <= y < len(rows) else None
        if layer is None or position is None:
            return
        if (layer, position) == self.here:
            self.action_choose()
        else:
            self._go((layer, position))

    def _go(self, place: Place) -> None:
        if place != self.here:
            self.here = place
            self.refresh()
            self.post_message(self.Moved(place))
