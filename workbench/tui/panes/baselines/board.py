"""The board of the baselines pane: the list of behaviours and prompts, and the card of the one under the cursor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.text import Text
from textual import on
from textual.app import ComposeResult, RenderResult
from textual.containers import Vertical, VerticalScroll
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Input, Static

from tasks.baseline import AD_HOC
from tasks.baseline_board import BoardBehaviour, board, find_pair, with_own_prompts
from tasks.behaviours import Pair
from workbench.tui.pane import Pane, Session
from workbench.tui.panes.baselines.lines import BoardLines, Row, RowPlace, board_rows
from workbench.tui.panes.baselines.reading import CardData, read_card
from workbench.tui.panes.baselines.words import copied_text, found_text
from workbench.tui.place import Place
from workbench.tui.render.baseline_board import board_heading, board_view, first_steps
from workbench.tui.render.prompt_card import behaviour_card, prompt_card
from workbench.tui.widgets.inert_input import InertInput
from workbench.tui.widgets.line_list import LineList

REST_S = 0.1
"""How long the cursor rests before the card follows."""


class BaselineBoard(Pane):
    """What is seen, and moving in it."""

    SCOPED_CSS = False  # `-narrow` is a class of the screen
    DEFAULT_CSS = """
    BaselineBoard { layout: horizontal; }
    BaselineBoard #board { width: 5fr; }
    BaselineBoard #board-words { display: none; }
    BaselineBoard LineList { scrollbar-gutter: stable; }
    BaselineBoard #card { width: 4fr; padding: 0 1; border-left: solid $panel; scrollbar-size-vertical: 1; }
    BaselineBoard #card:focus { border-left: solid $primary; }
    .-narrow BaselineBoard { layout: vertical; }
    .-narrow BaselineBoard #board { width: 100%; height: 2fr; }
    .-narrow BaselineBoard #card { width: 100%; height: 3fr; border-left: none; border-top: solid $panel; }
    .-narrow BaselineBoard #card:focus { border-left: none; border-top: solid $primary; }
    BaselineBoard.-card-only #board { display: none; }
    """

    def __init__(self, session: Session, name: str) -> None:
        """Nothing is read yet."""
        super().__init__(session, name)
        self._behaviours: list[BoardBehaviour] = []
        self._opened: set[str] = {AD_HOC}
        self._words = ""
        self._lines = BoardLines()
        self._shown: tuple[RowPlace, CardData] | None = None
        self._rest: Timer | None = None
        self._marked: frozenset[RowPlace] = frozenset()

    def compose(self) -> ComposeResult:
        """The filter, the columns' names, the list; beside or under it the card."""
        with Vertical(id="board"):
            yield InertInput(
                placeholder="words in a behaviour or a prompt; esc shows all", compact=True, id="board-words"
            )
            yield _Heading()
            yield LineList(empty="nothing holds these words: esc shows all")
        with VerticalScroll(id="card"):
            yield Static("")

    # What the app tells.

    async def open(self) -> None:
        """Read the board."""
        await self.read()

    async def store_changed(self) -> None:
        """Read again; the cursor stays on its line."""
        await self.read()

    async def go(self, place: Place) -> None:
        """To the prompt of the place."""
        self._go_to_prompt(place.prompt)

    async def follow(self, place: Place) -> None:
        """To the prompt that another pane looks at."""
        self._go_to_prompt(place.prompt)

    def state(self) -> Mapping[str, Any]:
        """What is open, the filter, and the line under the cursor."""
        return {"opened": sorted(self._opened), "words": self._words, "at": self.row_place}

    async def restore(self, state: Mapping[str, Any]) -> None:
        """Bring it back."""
        self._opened = {str(name) for name in state.get("opened", [AD_HOC])}
        at = state.get("at")
        self._show_rows((str(at[0]), str(at[1])) if isinstance(at, list) and len(at) == 2 else None)
        if words := str(state.get("words", "")):
            self._filter_line.display = True
            self._filter_line.value = words

    def exported(self, width: int) -> RenderableType:
        """The list, and the card under the cursor."""
        return Group(board_view(self._behaviours, width), Text(""), self._card(width))

    def finding(self) -> tuple[str, Mapping[str, Any]] | None:
        """The number of the line under the cursor."""
        data = self._shown[1] if self._shown and self._shown[0] == self.row_place else CardData()
        return found_text(self.row, data) if self.row else None

    def copied(self) -> str:
        """The prompt, or the behaviour's name."""
        return copied_text(self.row) if self.row else ""

    def focus_main(self) -> None:
        """The list; the card where it has all the room."""
        self.query_one("#card" if self.has_class("-card-only") else "LineList").focus()

    # The list.

    @property
    def behaviours(self) -> list[BoardBehaviour]:
        """What was read last."""
        return self._behaviours

    @property
    def row(self) -> Row | None:
        """What the cursor is on."""
        at = self.query_one(LineList).cursor
        return self._lines.rows[at] if at < len(self._lines) else None

    @property
    def row_place(self) -> RowPlace | None:
        """Where the cursor is, in a form that outlives a reading."""
        return self.row.place if self.row else None

    @property
    def _filter_line(self) -> InertInput:
        return self.query_one("#board-words", InertInput)

    async def read(self) -> None:
        """Read the board; the cursor stays on its line."""
        self._behaviours = with_own_prompts(await self.session.store.read(board), self.waiting_prompts())
        self._show_rows(self.row_place)

    def _show_rows(self, at: RowPlace | None) -> None:
        """Fill the list, the cursor on `at` if it is there."""
        opened = {behaviour.name for behaviour in self._behaviours} if self._words else self._opened
        rows = board_rows(self._behaviours, opened, self._words)
        self._lines = BoardLines(rows, opened, self._marked)
        found = self._lines.index_of(at) if at else None
        line_list = self.query_one(LineList)
        line_list.show(self._lines, line_list.cursor if found is None else found)

    def waiting_prompts(self) -> Iterable[Pair]:
        """Prompts of the person's own that are being run."""
        return ()

    def show_running(self, places: frozenset[RowPlace]) -> None:
        """Mark what is being run."""
        self._marked = self._lines.running = places
        self.query_one(LineList).redraw()

    def show_prompt(self, prompt: str, behaviour: str = "") -> None:
        """Put the cursor on a prompt, its behaviour opened; nothing happens if it is not on the board."""
        among = [each for each in self._behaviours if behaviour in ("", each.name)]
        found = find_pair(among, prompt)
        if found is not None:
            self._opened.add(found[0].name)
            self._show_rows((found[0].name, found[1].key))

    def _go_to_prompt(self, prompt: str) -> None:
        here = self.row.pair.pair if self.row and self.row.pair else None
        if prompt and not (here and prompt in (here.clean, here.corrupt)):
            self.show_prompt(prompt)

    @on(LineList.Chosen)
    async def _choose(self, message: LineList.Chosen) -> None:
        """Open or close a behaviour; trace a prompt."""
        message.stop()
        row = self._lines.rows[message.index]
        if row.pair is not None:
            await self.run_action("trace")
            return
        if self._words:
            self._unfilter()
            self._opened -= {row.behaviour.name}
        self._opened ^= {row.behaviour.name}
        self._show_rows(row.place)

    def action_fold(self) -> None:
        """Open all that is closed; if nothing is, close all."""
        every = {behaviour.name for behaviour in self._behaviours}
        self._opened = set() if every <= self._opened else every
        self._show_rows(self.row_place)

    def action_filter(self) -> None:
        """Ask for words."""
        self.remove_class("-card-only")
        self._filter_line.display = True
        self._filter_line.focus()

    @on(Input.Changed, "#board-words")
    def _filter(self, message: Input.Changed) -> None:
        message.stop()
        if message.value != self._words:
            self._words = message.value
            self._show_rows(self.row_place)

    @on(Input.Submitted, "#board-words")
    def _filtered(self, message: Input.Submitted) -> None:
        message.stop()
        self.query_one(LineList).focus()

    def action_leave(self) -> None:
        """All rows again, list and card beside each other."""
        self._unfilter()
        self.remove_class("-card-only")
        self.query_one(LineList).focus()

    def _unfilter(self) -> None:
        at = self.row_place
        self._words = self._filter_line.value = ""
        self._filter_line.display = False
        self._show_rows(at)

    # The card.

    @on(LineList.Moved)
    def _wait(self, message: LineList.Moved) -> None:
        """The card follows when the cursor rests."""
        message.stop()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, lambda: self.soon(self._read_card, group="card"))

    async def _read_card(self) -> None:
        row = self.row
        if row is not None:
            pair = row.pair
            data = (
                CardData() if pair is None else await self.session.store.read(lambda project: read_card(project, pair))
            )
            self._shown = (row.place, data)
            if pair is not None and self.display:
                self.looks(Place(prompt=pair.pair.clean))
        self.query_one("#card Static", Static).update(_Fitted(self))

    def _card(self, width: int) -> RenderableType:
        """The card of the line under the cursor; before anything was run, the first steps too."""
        parts: list[RenderableType] = []
        if self._behaviours and not any(behaviour.run for behaviour in self._behaviours):
            parts += [first_steps(self._behaviours), Text("─" * width, style="dim")]
        if self._shown is not None:
            at, data = self._shown
            row = next((row for row in self._lines.rows if row.place == at), None)
            if row is not None and row.pair is not None:
                dark = self.app.current_theme.dark
                parts.append(prompt_card(row.pair, data.readings, data.graphs, width, dark))
            elif row is not None:
                parts.append(behaviour_card(row.behaviour, width))
        return Group(*parts)

    def action_card(self) -> None:
        """The card alone, or beside the list."""
        self.toggle_class("-card-only")
        self.focus_main()


class _Heading(Widget):
    """The names of the list's columns."""

    DEFAULT_CSS = "_Heading { height: 1; }"

    def render(self) -> RenderResult:
        """As wide as the list's lines: without the cursor's mark and the scrollbar."""
        return Text(" ").append_text(board_heading(max(self.size.width - 2, 1)))


@dataclass(frozen=True)
class _Fitted:
    """The pane's card in whatever room it is drawn in."""

    pane: BaselineBoard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        yield self.pane._card(options.max_width)
