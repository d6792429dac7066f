"""The graph pane's parts on the screen: the list, the tree or the map, the card beside it, and two lines of numbers."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container, VerticalScroll
from textual.events import Resize
from textual.timer import Timer
from textual.widgets import Static

from store.errors import BadInput, WorkbenchError
from store.features import FeatureRecord
from store.graphs import GraphRecord
from workbench.tui.messages import Told
from workbench.tui.pane import Pane, Session
from workbench.tui.panes.graph.facts import feature_record, node_facts
from workbench.tui.panes.graph.lens_tree import MARK_CELLS
from workbench.tui.panes.graph.map import CellMap
from workbench.tui.panes.graph.shown import Shown
from workbench.tui.panes.graph.tree_list import TreeList
from workbench.tui.place import Place
from workbench.tui.render.graph_shape import score_line, shape_line
from workbench.tui.render.graph_tree import columns_words
from workbench.tui.render.node_card import cell_card, node_card
from workbench.tui.render.token_map import map_cells
from workbench.tui.render.tokens import fit, show_text
from workbench.tui.render.tree_lines import TreeLine
from workbench.tui.widgets.line_list import LineList

NARROW = 100
"""Columns below which the card hides until it is asked for."""
REST_S = 0.1
"""How long the cursor stays before the card follows it."""
PaneT = TypeVar("PaneT", bound="GraphScreen")


def told(action: Callable[[PaneT], None]) -> Callable[[PaneT], None]:
    """An action whose errors become a line."""

    @wraps(action)
    def wrapped(self: PaneT) -> None:
        try:
            action(self)
        except WorkbenchError as error:
            self.post_message(Told(str(error), error=True))

    return wrapped


class GraphScreen(Pane):
    """Draws what is there; it changes nothing."""

    DEFAULT_CSS = """
    GraphScreen #graph-title { height: 1; text-style: bold; }
    GraphScreen #graph-columns { height: 1; color: $text-muted; }
    GraphScreen #graph-shape, GraphScreen #graph-scores { height: 1; background: $panel; }
    GraphScreen #graph-body { height: 1fr; layout: horizontal; }
    GraphScreen #graph-body > LineList, GraphScreen CellMap { width: 1fr; }
    GraphScreen #graph-card { width: 36%; max-width: 70; min-width: 36; height: 100%; padding: 0 1;
        border-left: solid $primary; scrollbar-size-vertical: 1; }
    GraphScreen.-narrow #graph-body { layout: vertical; }
    GraphScreen.-narrow #graph-card { width: 100%; max-width: 100%; height: 45%; border-left: none;
        border-top: solid $primary; }
    """

    def __init__(self, session: Session, name: str) -> None:
        """The pane; nothing is read yet."""
        super().__init__(session, name)
        self.records: list[GraphRecord] = []
        self.shown: Shown | None = None
        self.mode = "list"
        """list, tree or map."""
        self.card_flipped = False
        """Whether the card is hidden where it would be there, or there where it would be hidden."""
        self.known: dict[tuple[int, int], FeatureRecord | None] = {}
        """(layer, feature) -> what the index says, of the features that the cursor was on."""
        self._sought = ""
        self._said: dict[str, str] = {}
        self._rest: Timer | None = None
        self.looked = Place()

    def compose(self) -> ComposeResult:
        """Title, columns, the list or tree or map beside the card, and two lines of numbers."""
        yield Static("", id="graph-title")
        yield Static("", id="graph-columns")
        with Container(id="graph-body"):
            yield LineList(empty="reading …", id="graph-list")
            yield TreeList(id="graph-tree")
            yield CellMap(id="graph-map")
            with VerticalScroll(id="graph-card", can_focus=False):
                yield Static("", id="graph-card-text")
        yield Static("", id="graph-shape")
        yield Static("", id="graph-scores")

    def on_resize(self, event: Resize) -> None:
        """Stack the parts where there is no room beside each other."""
        self.set_class(event.size.width < NARROW, "-narrow")
        self.lay_out()
        self.draw_words()

    @property
    def pending(self) -> bool:
        """Whether another shape is on its way."""
        return False

    # What is on the screen.

    @property
    def tree_list(self) -> TreeList:
        """The tree's list."""
        return self.query_one("#graph-tree", TreeList)

    @property
    def graph_list(self) -> LineList:
        """The list of graphs."""
        return self.query_one("#graph-list", LineList)

    @property
    def cell_map(self) -> CellMap:
        """The map."""
        return self.query_one(CellMap)

    def here(self) -> Shown:
        """The open graph; `BadInput` if there is none on the screen."""
        if self.shown is None or self.mode == "list":
            raise BadInput("no graph is open", "choose one with ⏎")
        return self.shown

    def line(self) -> TreeLine:
        """The line under the cursor; `BadInput` outside the tree."""
        shown = self.here()
        if self.mode != "tree" or not shown.tree.lines:
            raise BadInput("no node is under the cursor", "⏎ opens a cell's nodes; m closes the map")
        return shown.tree.lines[min(self.tree_list.cursor, len(shown.tree) - 1)]

    def switch(self, mode: str) -> None:
        """Show the list, the tree or the map, with the focus on it."""
        had_focus = any(widget.has_focus for widget in (self.graph_list, self.tree_list, self.cell_map))
        self.mode = mode
        if mode == "map" and self.shown is not None:
            shown = self.shown
            node = shown.tree.node_at(self.tree_list.cursor)
            place = None if node is None else (node.layer, node.position)
            self.cell_map.show(map_cells(shown.tree.lens.drawn_nodes()), shown.graph.tokens, place)
        elif mode == "tree":
            self.soon(self.draw_card, group="card")
        self.lay_out()
        self.draw_words()
        if had_focus:
            self.focus_main()

    def focus_main(self) -> None:
        """The part that is on the screen."""
        parts = {"list": self.graph_list, "tree": self.tree_list, "map": self.cell_map}
        parts[self.mode].focus()

    def lay_out(self) -> None:
        """What is there in this mode and width."""
        self.graph_list.display = self.mode == "list"
        self.tree_list.display = self.mode == "tree"
        self.cell_map.display = self.mode == "map"
        self.query_one("#graph-columns").display = self.mode == "tree"
        there = self.has_class("-narrow") == self.card_flipped
        self.query_one("#graph-card").display = there and self.mode != "list"
        for name in ("#graph-shape", "#graph-scores"):
            self.query_one(name).display = self.mode != "list"

    def draw_words(self) -> None:
        """The title, the columns' names and the two lines of numbers."""
        width = max(self.size.width - 1, 20)
        if self.mode == "list" or self.shown is None:
            count = f"{len(self.records)} graphs" if self.records else "Graphs"
            self._say("title", Text(fit(f" {count}  (⏎ opens, newest first)", width)))
            return
        record, facts = self.shown.graph.record, self.shown.facts(self.pending)
        words = f" graph {record.id}  {show_text(record.dictionary)}  {show_text(record.prompt)}"
        self._say("title", Text(fit(words, width)))
        self._say("columns", Text(fit(" " + columns_words(self.shown.graph.has_measured, MARK_CELLS), width)))
        self._say("shape", Text(" ").append_text(shape_line(facts, width - 1)))
        self._say("scores", Text(" ").append_text(score_line(facts, width - 1)))

    def _say(self, name: str, words: Text) -> None:
        """Put words into one of the lines; they stay as high as they are, so nothing is laid out anew."""
        if self._said.get(name) != words.plain:
            self._said[name] = words.plain
            self.query_one(f"#graph-{name}", Static).update(words, layout=False)

    @property
    def graph_id(self) -> int:
        """The open graph's id; 0 without one."""
        return self.shown.graph.record.id if self.shown is not None else 0

    # The cursor.

    @on(LineList.Moved, "#graph-tree")
    def _moved(self, message: LineList.Moved) -> None:
        """The card follows when the cursor rests."""
        message.stop()
        if self._rest is not None:
            self._rest.stop()
        self._rest = self.set_timer(REST_S, self._rested)

    @on(CellMap.Moved)
    def _cell_moved(self, message: CellMap.Moved) -> None:
        """The card lists what lies in the cell."""
        message.stop()
        if self.shown is not None and self.mode == "map":
            nodes = [
                node for node in self.shown.tree.lens.drawn_nodes() if (node.layer, node.position) == message.place
            ]
            lines = cell_card(nodes, self.shown.graph.tokens, self.card_width)
            self.query_one("#graph-card-text", Static).update(Text("\n").join(lines))

    def _rested(self) -> None:
        self.soon(self.draw_card, group="card")

    async def draw_card(self) -> None:
        """The card of the node under the cursor, and word of it to the other panes."""
        shown = self.shown
        if shown is None or self.mode != "tree" or not shown.tree.lines:
            return
        line = shown.tree.lines[min(self.tree_list.cursor, len(shown.tree) - 1)]
        await self._know(shown, line)
        if shown is not self.shown:
            return
        self.query_one("#graph-card-text", Static).update(self.card_text())
        node, record = line.node, shown.graph.record
        feature = f"L{node.layer}/{node.feature}" if node is not None and node.kind == "feature" else ""
        name = "" if node is None or node.members else node.name
        place = Place("graph", record.prompt, record.id, name, record.dictionary if feature else "", feature)
        if place != self.looked:
            self.looked = place
            self.looks(place)

    async def _know(self, shown: Shown, line: TreeLine) -> None:
        node, dictionary = line.node, shown.graph.record.dictionary
        if node is None or node.kind != "feature":
            return
        place, name = (node.layer, node.feature), f"L{node.layer}/{node.feature}"
        if place not in self.known:
            self.known[place] = await self.session.store.read(lambda project: feature_record(project, dictionary, name))

    @property
    def card_width(self) -> int:
        """Cells of a line of the card."""
        return max(self.query_one("#graph-card").content_size.width - 1, 30)

    def card_text(self) -> Text:
        """The card of the line under the cursor, from what has been read."""
        shown = self.here()
        line = shown.tree.lines[min(self.tree_list.cursor, len(shown.tree) - 1)]
        node = line.node
        known = self.known.get((node.layer, node.feature)) if node is not None and node.kind == "feature" else None
        facts = node_facts(shown, line, known)
        return (
            Text("\n").join(node_card(facts, self.card_width)) if facts is not None else Text(line.words, style="dim")
        )
