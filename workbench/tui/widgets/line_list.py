"""A list of any length, one line an entry: entries are drawn when they are seen, so a million cost what a page costs.

Built on Textual's Line API, because its own lists make a row for every entry (TERMINAL.md: 5.8 s for 10 000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip

CURSOR = "▌"
"""What stands before the line under the cursor, so that it is seen without colour."""


class Lines(Protocol):
    """What a `LineList` shows."""

    def __len__(self) -> int:
        """How many entries there are."""

    def line(self, index: int, width: int) -> Text:
        """The entry in at most `width` cells, inert; called for the entries on the screen at every drawing."""


class TextLines:
    """Lines that are known beforehand."""

    def __init__(self, texts: list[Text]) -> None:
        """`texts`: one entry each."""
        self._texts = texts

    def __len__(self) -> int:
        """How many entries there are."""
        return len(self._texts)

    def line(self, index: int, width: int) -> Text:
        """The entry, cut to the width."""
        text = self._texts[index].copy()
        text.truncate(width, overflow="ellipsis")
        return text


class LineList(ScrollView, can_focus=True):
    """A list with a cursor: keys, wheel and clicks move it; Enter or a second click chooses."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    LineList { height: 1fr; scrollbar-size-vertical: 1; overflow-x: hidden; }
    LineList > .line-list--cursor { text-style: bold; background: $block-cursor-blurred-background; }
    LineList:focus > .line-list--cursor { background: $primary 40%; }
    """
    COMPONENT_CLASSES: ClassVar[set[str]] = {"line-list--cursor"}
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home", "edge(0)", "first", show=False),
        Binding("end", "edge(1)", "last", show=False),
        Binding("enter", "choose", "choose", show=False),
    ]
    cursor: reactive[int] = reactive(0, repaint=False)

    @dataclass
    class Moved(Message):
        """The cursor has come to another entry, or the entries are new."""

        line_list: LineList
        index: int

        def can_replace(self, message: Message) -> bool:
            """Only where the cursor came to rest counts."""
            return isinstance(message, LineList.Moved) and message.line_list is self.line_list

        @property
        def control(self) -> LineList:
            """The list."""
            return self.line_list

    @dataclass
    class Chosen(Message):
        """Enter, or a click on the entry under the cursor."""

        line_list: LineList
        index: int

        @property
        def control(self) -> LineList:
            """The list."""
            return self.line_list

    def __init__(self, lines: Lines | None = None, empty: str = "", *, id: str | None = None) -> None:
        """Show `lines`; where there are none, the words `empty`."""
        super().__init__(id=id)
        self._lines: Lines = TextLines([]) if lines is None else lines
        self._empty = empty

    @property
    def lines(self) -> Lines:
        """What is shown."""
        return self._lines

    def show(self, lines: Lines, cursor: int = 0, empty: str | None = None) -> None:
        """Show other lines, with the cursor on one of them."""
        self._lines = lines
        self._empty = self._empty if empty is None else empty
        self._resize()
        self.set_reactive(LineList.cursor, max(0, min(cursor, len(lines) - 1)))
        self._keep_in_sight()
        self.call_after_refresh(self._keep_in_sight)
        self.refresh()
        if len(lines):
            self.post_message(self.Moved(self, self.cursor))

    def redraw(self) -> None:
        """Draw again: what the same lines say has changed, perhaps how many there are."""
        self._resize()
        if self.cursor >= len(self._lines):
            self.cursor = max(0, len(self._lines) - 1)
        self.refresh()

    def validate_cursor(self, cursor: int) -> int:
        """The cursor stays on an entry."""
        return max(0, min(cursor, len(self._lines) - 1))

    def watch_cursor(self, before: int, after: int) -> None:
        """Draw the two lines anew and tell."""
        self._refresh_line(before)
        self._refresh_line(after)
        self._keep_in_sight()
        if len(self._lines):
            self.post_message(self.Moved(self, after))

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        width = self.scrollable_content_region.width
        index = y + round(self.scroll_offset.y)
        if index >= len(self._lines):
            words = self._empty if not len(self._lines) and y == 0 else ""
            return self._strip(Text(f" {words}", style="dim"), width, self.rich_style)
        here = index == self.cursor
        text = Text(CURSOR if here else " ")
        text.append_text(self._lines.line(index, max(width - 1, 1)))
        style = self.rich_style
        if here:
            style += self.get_component_rich_style("line-list--cursor", partial=True)
        return self._strip(text, width, style)

    def action_move(self, by: int) -> None:
        """The cursor goes up or down."""
        self.cursor += by

    def action_page(self, by: int) -> None:
        """The cursor goes a page up or down."""
        self.cursor += by * max(self.scrollable_content_region.height - 1, 1)

    def action_edge(self, end: int) -> None:
        """The cursor goes to the first or the last entry."""
        self.cursor = len(self._lines) - 1 if end else 0

    def action_choose(self) -> None:
        """Choose the entry under the cursor."""
        if len(self._lines):
            self.post_message(self.Chosen(self, self.cursor))

    def on_click(self, event: events.Click) -> None:
        """A click moves the cursor; one on the entry under it chooses."""
        index = event.y + round(self.scroll_offset.y)
        if index >= len(self._lines):
            return
        if index == self.cursor:
            self.action_choose()
        else:
            self.cursor = index

    def on_resize(self, event: events.Resize) -> None:
        """Lines are as wide as the list."""
        self._resize()
        self._keep_in_sight()

    def on_show(self, event: events.Show) -> None:
        """What moved while nobody saw it is brought into sight, once it is known how far there is to scroll."""
        self._keep_in_sight()
        self.call_after_refresh(self._keep_in_sight)

    def notify_style_update(self) -> None:
        """The colours changed."""
        super().notify_style_update()
        self.refresh()

    def _strip(self, text: Text, width: int, style: Style) -> Strip:
        segments = [segment for segment in text.render(self.app.console, end="") if segment.text]
        strip = Strip(Segment.apply_style(segments, style)).adjust_cell_length(width, style)
        return strip

    def _resize(self) -> None:
        """Be as long as there are lines; the screen is laid out anew only where the scroll bar comes or goes."""
        size = Size(self.scrollable_content_region.width, len(self._lines))
        if self.show_vertical_scrollbar and size.height > self.container_size.height:
            self.set_reactive(LineList.virtual_size, size)
            self.vertical_scrollbar.window_virtual_size = size.height
            self.scroll_y = min(self.scroll_y, self.max_scroll_y)
        else:
            self.virtual_size = size

    def _refresh_line(self, index: int) -> None:
        width = self.scrollable_content_region.width
        self.refresh(Region(0, index - round(self.scroll_offset.y), width, 1))

    def _keep_in_sight(self) -> None:
        height = self.scrollable_content_region.height
        top = round(self.scroll_offset.y)
        if height < 1:
            return
        if self.cursor < top:
            self.scroll_to(y=self.cursor, animate=False)
        elif self.cursor >= top + height:
            self.scroll_to(y=self.cursor - height + 1, animate=False)
