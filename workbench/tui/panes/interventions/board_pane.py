"""The board on the screen: its lines, the card of the line under the cursor, and the line that edits are typed into."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rich.console import RenderableType
from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.timer import Timer
from textual.widgets import Static

from store.errors import Missing
from tasks.graphs.edit import Edit
from tasks.graphs.edit_ground import EditGround, load_edit_ground
from tasks.graphs.feature_name import FeatureName
from workbench.tui.pane import Pane, Session
from workbench.tui.panes.interventions.board import Board, Entry, parsed
from workbench.tui.panes.interventions.completion import fault_of, offers
from workbench.tui.panes.interventions.edit_text import split_source
from workbench.tui.panes.interventions.measuring import KIND, Measuring
from workbench.tui.panes.interventions.past import Past
from workbench.tui.panes.interventions.reading import corrupt_prompts, stamp
from workbench.tui.panes.interventions.view import BoardView
from workbench.tui.place import Place
from workbench.tui.render.edit_board import board_heading, setup_lines
from workbench.tui.widgets.edit_line import EditLine
from workbench.tui.widgets.line_list import LineList

REST_S = 0.1
"""How long the cursor rests before its card comes up."""
STACKED = 120
"""Columns below which the card stands under the board."""
NOT_STORED = -1
"""`Place.intervention` of a board that is no stored intervention (any more)."""


class BoardPane(Pane):
    """Everything about the board but what runs it and what was stored."""

    DEFAULT_CSS = """
    BoardPane #board-setup { height: auto; max-height: 6; background: $boost; }
    BoardPane #edit-body { height: 1fr; }
    BoardPane #edit-left { width: 3fr; }
    BoardPane #edit-card { width: 2fr; border-left: solid $panel; padding: 0 1; }
    BoardPane #edit-card > Static { height: auto; }
    BoardPane #board-heading { height: 2; }
    BoardPane #board { height: 1fr; }
    BoardPane #history-part { height: 35%; border-top: solid $panel; }
    BoardPane #history-heading { height: 1; color: $text-muted; }
    BoardPane.-stacked #edit-body { layout: vertical; }
    BoardPane.-stacked #board-setup { max-height: 4; }
    BoardPane.-stacked #edit-left { width: 100%; height: 45%; }
    BoardPane.-stacked #edit-card { width: 100%; height: 1fr; border-left: none; border-top: solid $panel; }
    BoardPane.-stacked #history-part { display: none; }
    BoardPane.-stacked.-history #edit-card { display: none; }
    BoardPane.-stacked.-history #edit-left { height: 1fr; }
    BoardPane.-stacked.-history #history-part { display: block; height: 1fr; }
    """

    def __init__(self, session: Session, name: str) -> None:
        """An empty board."""
        super().__init__(session, name)
        self.measuring = Measuring(session.store, lambda params: self.submitted(KIND, params))
        self.view = BoardView(Board(), EditGround(), self.measuring)
        self._past = Past()
        self._editing: int | None = None
        self._shown = NOT_STORED
        self._stamp: Any = None
        self._prompts: list[str] = []
        self._rest: Timer | None = None

    def compose(self) -> ComposeResult:
        """The options, the edit line, the board over the history, the card beside them."""
        yield Static("", id="board-setup")
        yield EditLine("a writes an edit: ablate, scale, steer, swap", id="edit-line")
        with Horizontal(id="edit-body"):
            with Vertical(id="edit-left"):
                yield Static("", id="board-heading")
                yield LineList(empty="no edits yet: press a", id="board")
                with Vertical(id="history-part"):
                    yield Static(Text(" stored interventions, newest first: id, when, change (nats), edits"),
                                 id="history-heading")  # fmt: skip
                    yield LineList(empty="none yet: r measures the board", id="history")
            with VerticalScroll(id="edit-card"):
                yield Static("", id="edit-outcome")

    # The board.

    @property
    def board(self) -> Board:
        """What is on the board."""
        return self.view.board

    @property
    def _at(self) -> int:
        return self.query_one("#board", LineList).cursor

    @property
    def _entry(self) -> Entry | None:
        """The entry under the cursor; None on the total, or with nothing on the board."""
        return self.board.entries[self._at] if self._at < len(self.board.entries) else None

    async def change(self, board: Board, ground: EditGround | None = None) -> None:
        """A person changes the board: what was before can be brought back."""
        if board.key() == self.board.key():
            return
        self._past.keep(self.board)
        self._forget_stored()
        await self.stand(board, ground)

    async def stand(self, board: Board, ground: EditGround | None = None) -> None:
        """Show a board on its ground, with what is known of it."""
        if ground is None:
            ground = await self._load(board)
        self.view = BoardView(board, ground, self.measuring)
        graph = board.options.graph
        self._stamp = await self.session.store.read(lambda project: stamp(project, graph))
        self._prompts = await self.session.store.read(lambda project: corrupt_prompts(project, ground.prompt))
        await self.measuring.recall(self.view.known_runs())
        self.draw()

    async def _load(self, board: Board) -> EditGround:
        """What the board's edits are about; where the graph is gone, ground on which nothing stands."""
        options = board.options
        try:
            return await self.session.store.read(
                lambda project: load_edit_ground(project, options.prompt, options.graph, options.dictionary)
            )
        except Missing as error:
            return EditGround(prompt=options.prompt, graph=options.graph, fault=error.fault)

    def draw(self) -> None:
        """Draw everything that depends on the board and on what was measured."""
        self.view.refresh()
        board = self.query_one("#board", LineList)
        if board.lines is self.view:
            board.redraw()
        else:
            board.show(self.view, board.cursor)
        self._draw_heads()
        self._draw_card()

    def _draw_heads(self) -> None:
        setup = self.view.setup
        self.query_one("#board-setup", Static).update(setup_lines(setup, max(self.size.width, 40)))
        starred = any(line.of_run and line.predicted is not None for line in self.view.lines)
        width = self.query_one("#board", LineList).size.width
        heading = board_heading(setup, max(width, 40), starred) if self.view.lines else Text("")
        self.query_one("#board-heading", Static).update(heading)

    def _draw_card(self) -> None:
        card = self.query_one("#edit-outcome", Static)
        width = max(self.query_one("#edit-card").scrollable_content_region.width, 40)
        card.update(self.card(width))

    def card(self, width: int) -> RenderableType:
        """What belongs to the line under the cursor."""
        return self.view.card(self._at, width)

    def on_resize(self, event: events.Resize) -> None:
        """Lines and card are as wide as there is room; the card stands below where there is little."""
        self.set_class(event.size.width < STACKED, "-stacked")
        self.call_after_refresh(self._draw_all)

    def _draw_all(self) -> None:
        self._draw_heads()
        self._draw_card()

    @on(LineList.Moved)
    def _rest_here(self, message: LineList.Moved) -> None:
        """The card follows when the cursor rests."""
        message.stop()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._look)

    def _look(self) -> None:
        """The cursor rests: the card comes up, linked panes show the feature."""
        self._draw_card()
        entry = self._entry
        if entry is not None and self.display and isinstance(entry.edit.subject, FeatureName):
            self.looks(self.place_of(entry.edit))

    def place_of(self, edit: Edit) -> Place:
        """Where the feature of an edit is to be seen; its first, if it names many."""
        name, ground = edit.subject, self.view.ground
        place = Place(graph=ground.graph or 0, dictionary=ground.dictionary, prompt=self.view.setup.prompt)
        if not isinstance(name, FeatureName) or name.feature is None:
            return place
        feature = f"L{name.layers[0]}/{name.feature}"
        at = None if name.positions is None else name.positions[0]
        if at is not None and ground.n_positions:
            at %= ground.n_positions
        return replace(place, feature=feature, node="" if at is None or at < 0 else f"{feature}@{at}")

    # The edit line.

    @on(EditLine.Changed)
    def _say_what_it_means(self, message: EditLine.Changed) -> None:
        """Offers, or what is wrong."""
        message.stop()
        edit_line = message.edit_line
        if not message.text.strip() or not edit_line.is_typed_in:
            edit_line.show_fault("")
            edit_line.show_offers(())
            return
        found = offers(message.text, self.view.ground, self._prompts)
        edit_line.show_offers([(offer.line, offer.words) for offer in found])
        fault = fault_of(message.text, self.view.ground)
        quiet = fault is None or any(offer.line.startswith(message.text.lstrip()) for offer in found)
        edit_line.show_fault("" if quiet or fault is None else str(fault), getattr(fault, "at", None))

    @on(EditLine.Entered)
    def _take_line(self, message: EditLine.Entered) -> None:
        """Put the edit on the board."""
        message.stop()
        text = message.text

        async def take() -> None:
            if not text.strip():
                self.leave_line()
                return
            fault = fault_of(text, self.view.ground)
            if fault is not None:
                message.edit_line.show_fault(str(fault), getattr(fault, "at", None))
                return
            line, source = split_source(text)
            edit, at = parsed(line), self._editing
            old = self.board.entries[at] if at is not None and at < len(self.board.entries) else None
            board = self.board.with_entry(replace(old, edit=edit) if old else Entry(edit), at if old else None)
            await self.change(board if source is None else board.with_options(from_=source))
            self.query_one("#board", LineList).cursor = len(self.board.entries) - 1 if at is None else at
            message.edit_line.text = ""
            self.leave_line()

        self.soon(take, "line")

    @on(EditLine.Left)
    def _leave_line(self, message: EditLine.Left) -> None:
        message.stop()
        self.leave_line()

    def leave_line(self) -> None:
        """Back to the board."""
        edit_line = self.query_one(EditLine)
        edit_line.show_fault("")
        edit_line.show_offers(())
        if self._editing is not None:
            edit_line.text = ""
        self._editing = None
        self.query_one("#board", LineList).focus()

    def action_write(self) -> None:
        """Write an edit."""
        self._editing = None
        self.query_one(EditLine).type_here()

    @on(LineList.Chosen, "#board")
    def action_change_edit(self) -> None:
        """Change the edit under the cursor."""
        entry = self._entry
        if entry is None:
            self.action_write()
            return
        edit_line = self.query_one(EditLine)
        self._editing = self._at
        edit_line.type_here()
        edit_line.text = str(entry.edit)

    def action_switch(self) -> None:
        """Turn the edit under the cursor on or off; on the total, all of them."""
        entries = self.board.entries
        if self._entry is not None:
            board = self.board.toggled(self._at)
        else:
            on_now = not self.board.active
            board = replace(self.board, entries=tuple(replace(entry, active=on_now) for entry in entries))
        self.soon(lambda: self.change(board), "board")

    def action_remove(self) -> None:
        """Take the edit under the cursor off the board."""
        if self._entry is not None:
            board = self.board.without(self._at)
            self.soon(lambda: self.change(board), "board")

    def action_clear(self) -> None:
        """A board without edits, on the same ground."""
        board = replace(self.board, entries=())
        self.soon(lambda: self.change(board), "board")

    def action_undo(self) -> None:
        """The board before the last change."""
        self._step(self._past.back(self.board))

    def action_redo(self) -> None:
        """The board that was undone."""
        self._step(self._past.forward(self.board))

    def _forget_stored(self) -> None:
        """The board is no longer that of a stored intervention: coming back to the pane does not bring that up."""
        if self._shown != NOT_STORED:
            self._shown = NOT_STORED
            self.looks(Place(intervention=NOT_STORED))

    def _step(self, board: Board | None) -> None:
        if board is None:
            self.app.bell()
            return
        self._forget_stored()
        self.soon(lambda: self.stand(board), "board")
