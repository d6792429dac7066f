"""Reading a graph: opening nodes, other roots, the direction, thresholds, the map, other graphs, views kept by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.text import Text
from textual import on, work

from store import graph_shape
from store.errors import BadInput
from tasks.graphs.edit import parse_number
from workbench.tui.actions import Action
from workbench.tui.messages import Told
from workbench.tui.panes.graph.core import GraphCore
from workbench.tui.panes.graph.map import CellMap
from workbench.tui.panes.graph.screen import told
from workbench.tui.panes.graph.shown import EDGE_THRESHOLD, NODE_THRESHOLD, Shown
from workbench.tui.render.bars import number
from workbench.tui.render.tokens import show_text
from workbench.tui.screens.choice import Choice
from workbench.tui.screens.question import Question
from workbench.tui.widgets.line_list import LineList

STEP, FINE = 0.02, 0.002
"""What a key adds to a threshold: up to 0.98, and above it, where steps weigh more."""
LOWEST, HIGHEST = 0.1, 1.0
LONGEST_TRAIL = 100


class Reading(GraphCore):
    """What keys do that only look."""

    READING: ClassVar[tuple[Action, ...]] = (
        Action("expand", "right", "Open the node under the cursor, or go to its first child"),
        Action("collapse", "left", "Close the node under the cursor, or go to the one above"),
        Action("root", "r", "Read the tree from the node under the cursor", "root"),
        Action("former_root", "backspace", "Read from the root before"),
        Action("home", "home", "Read from what the graph explains"),
        Action("causes", "i", "Follow causes, towards the tokens", "in"),
        Action("consequences", "o", "Follow consequences, towards the logits", "out"),
        Action("rank", "s", "Rank by effect or by share"),
        Action("fewer_nodes", "left_square_bracket", "Keep fewer nodes: a lower node threshold", "fewer"),
        Action("more_nodes", "right_square_bracket", "Keep more nodes: a higher node threshold", "more"),
        Action("fewer_edges", "left_curly_bracket", "Keep fewer edges: a lower edge threshold"),
        Action("more_edges", "right_curly_bracket", "Keep more edges: a higher edge threshold"),
        Action("thresholds", "t", "Type the thresholds"),
        Action("only_pinned", "b", "Draw pinned features only, or all"),
        Action("grouped", "G", "Draw the members of each supernode together, or each by itself"),
        Action("map", "m", "Show layers by tokens, or the tree", "map"),
        Action("card", "c", "Show or hide the card"),
        Action("find", "slash", "Go to a node by name, label or token", "find"),
        Action("list", "l", "List the graphs"),
        Action("leave", "escape", "Step back: the map, the selection, the list"),
        Action("next_graph", "n", "Open the next graph of this prompt"),
        Action("previous_graph", "N", "Open the graph of this prompt before"),
        Action("return_to_view", "R", "Return to a view that was kept"),
    )

    # The tree.

    @on(LineList.Chosen, "#graph-tree")
    def _choose(self, message: LineList.Chosen) -> None:
        """Open or close; show more of the weaker; go to where a node is open."""
        message.stop()
        shown = self.here()
        line = shown.tree.lines[message.index]
        if line.more:
            shown.tree.show_more(line.path[-1])
            self.redraw_tree()
        elif line.node is not None and line.seen:
            self.tree_list.cursor = max(shown.tree.index_of(shown.tree.place_of(line.node.node)), 0)
        elif line.node is not None and shown.tree.opens(line.path):
            self._close(shown)
        else:
            self.action_expand()

    @on(LineList.Chosen, "#graph-list")
    def _open_chosen(self, message: LineList.Chosen) -> None:
        """Open a graph."""
        message.stop()
        graph_id = self.records[message.index].id
        if graph_id == self.graph_id:
            self.switch("tree")
        else:
            self.soon(lambda: self.show_graph(graph_id), group="graph")

    @told
    def action_expand(self) -> None:
        """Open the node under the cursor; if it is open, go to its first child."""
        shown, line = self.here(), self.line()
        if line.more:
            shown.tree.show_more(line.path[-1])
        elif line.node is None or not shown.tree.lens.degree(line.node.node, shown.tree.direction):
            return
        elif line.seen:
            self.tree_list.cursor = max(shown.tree.index_of(shown.tree.place_of(line.node.node)), 0)
            return
        elif shown.tree.opens(line.path):
            self.tree_list.cursor += 1
            return
        else:
            shown.tree.open(line.path)
        self.redraw_tree()

    @told
    def action_collapse(self) -> None:
        """Close the node under the cursor; if it is closed, go to the one above."""
        shown, line = self.here(), self.line()
        if line.node is not None and shown.tree.opens(line.path):
            self._close(shown)
        else:
            above = line.path if line.node is None else line.path[:-1]
            self.tree_list.cursor = max(shown.tree.index_of(above), 0)

    def _close(self, shown: Shown) -> None:
        path = self.line().path
        shown.tree.close(path)
        self.tree_list.show(shown.tree, max(shown.tree.index_of(path), 0))

    @told
    def action_root(self) -> None:
        """The node under the cursor becomes the root."""
        node = self.line().node
        if node is not None:
            self._root_at((node.node,))

    @told
    def action_home(self) -> None:
        """What the graph explains becomes the root; if it is, the cursor goes up."""
        if self.here().tree.look.roots:
            self._root_at(())
        else:
            self.tree_list.cursor = 0

    @told
    def action_former_root(self) -> None:
        """The root and all that was open before."""
        shown = self.here()
        if not shown.trail:
            raise BadInput("there is no root before this one", "r reads from the node under the cursor")
        look, node = shown.trail.pop()
        shown.tree.see(**vars(look))
        self.tree_list.show(shown.tree, max(shown.tree.index_of_node(node), 0))
        self.draw_words()

    def _root_at(self, roots: tuple[int, ...], direction: str | None = None) -> None:
        shown = self.here()
        node = shown.tree.node_at(self.tree_list.cursor)
        shown.trail = [*shown.trail, (shown.tree.look, -1 if node is None else node.node)][-LONGEST_TRAIL:]
        shown.tree.root_at(roots, direction)
        self.tree_list.show(shown.tree, 0)
        self.draw_words()

    @told
    def action_causes(self) -> None:
        """Read what the node under the cursor is made of."""
        self._turn("in")

    @told
    def action_consequences(self) -> None:
        """Read what the node under the cursor feeds."""
        self._turn("out")

    def _turn(self, direction: str) -> None:
        shown, node = self.here(), self.line().node
        if node is None or shown.tree.direction == direction:
            return
        self._root_at(() if node.node in shown.graph.roots and direction == "in" else (node.node,), direction)

    @told
    def action_rank(self) -> None:
        """By effect, or by share."""
        shown = self.here()
        shown.tree.see(by="share" if shown.tree.by == "effect" else "effect")
        self.redraw_tree()

    # Thresholds.

    @told
    def action_fewer_nodes(self) -> None:
        """The node threshold goes down."""
        self._step(-1, 0)

    @told
    def action_more_nodes(self) -> None:
        """The node threshold goes up."""
        self._step(1, 0)

    @told
    def action_fewer_edges(self) -> None:
        """The edge threshold goes down."""
        self._step(0, -1)

    @told
    def action_more_edges(self) -> None:
        """The edge threshold goes up."""
        self._step(0, 1)

    def _step(self, node: int, edge: int) -> None:
        thresholds = self._thresholds()
        self._prune(stepped(thresholds[0], node), stepped(thresholds[1], edge))

    def _thresholds(self) -> tuple[float, float]:
        known = self.here().thresholds
        return NODE_THRESHOLD if known[0] is None else known[0], EDGE_THRESHOLD if known[1] is None else known[1]

    def _prune(self, node: float, edge: float) -> None:
        self.want(node_threshold=node, edge_threshold=edge)

    @work
    async def action_thresholds(self) -> None:
        """Both, as two numbers."""
        if not self._graph_is_open():
            return
        known = "  ".join(number(threshold, 3) for threshold in self._thresholds())
        words = "Node and edge threshold: keep what carries this part of all influence (0 to 1)"
        answer = await self.app.push_screen_wait(Question(words, known, check=read_thresholds))
        if answer is not None:
            self._prune(*read_thresholds(answer))

    # What is drawn.

    @told
    def action_only_pinned(self) -> None:
        """Pinned features, tokens and logits; or everything."""
        shown = self.here()
        if not shown.shape.pinned and not shown.shape.only_pinned:
            raise BadInput("nothing is pinned", "p pins the node under the cursor")
        self.want(only_pinned=not shown.shape.only_pinned)

    @told
    def action_grouped(self) -> None:
        """Supernodes as one, or member by member."""
        shown = self.here()
        if not shown.shape.groups and not shown.shape.grouped:
            raise BadInput("the graph has no supernodes", "v selects nodes, g groups them")
        self.want(grouped=not shown.shape.grouped)

    @told
    def action_map(self) -> None:
        """The map, or the tree."""
        self.here()
        self.switch("tree" if self.mode == "map" else "map")

    @on(CellMap.Chosen)
    def _open_cell(self, message: CellMap.Chosen) -> None:
        """A tree from the cell's nodes, the strongest first."""
        message.stop()
        shown = self.here()
        nodes = [n for n in shown.tree.lens.nodes.values() if (n.layer, n.position) == message.place]
        if not nodes:
            self.post_message(Told("nothing is drawn in this cell", error=True))
            return
        nodes.sort(key=lambda node: -abs(node.predicted_effect or 0.0))
        self.switch("tree")
        self._root_at(tuple(node.node for node in nodes))

    def action_card(self) -> None:
        """The card, or more room for the tree."""
        self.card_flipped = not self.card_flipped
        self.lay_out()
        self.call_after_refresh(self.draw_card)

    @work
    async def action_find(self) -> None:
        """The next node that fits."""
        if not self._graph_is_open():
            return
        words = "Go to: a name (L12/345@7), or a part of a label or token"
        answer = await self.app.push_screen_wait(Question(words, self._sought))
        shown = self.shown
        if not answer or shown is None:
            return
        self._sought = answer
        here = shown.tree.node_at(self.tree_list.cursor)
        found = shown.matching(answer, -1 if here is None else here.node)
        if self.mode != "tree":
            self.switch("tree")
        if found is None or not self.reveal(found.node):
            self.post_message(Told(f"nothing that is drawn fits {answer!r}: ] keeps more nodes", error=True))

    # Other graphs and views.

    def action_list(self) -> None:
        """The list of graphs."""
        self.switch("list")

    @told
    def action_leave(self) -> None:
        """From the map to the tree; else let the selection go; else to the list."""
        if self.mode == "map":
            self.switch("tree")
        elif self.mode == "tree" and self.shown is not None and self.shown.selected:
            self.shown.selected.clear()
            self.tree_list.redraw()
            self.want_scores()
        else:
            self.switch("list")

    @told
    def action_next_graph(self) -> None:
        """The next one in the list."""
        self._neighbour(1)

    @told
    def action_previous_graph(self) -> None:
        """The one before in the list."""
        self._neighbour(-1)

    def _neighbour(self, by: int) -> None:
        prompt = self.here().graph.record.prompt
        same = [record.id for record in self.records if record.prompt == prompt]
        if len(same) < 2:
            raise BadInput("this is the only graph of its prompt", "l lists all graphs")
        graph_id = same[(same.index(self.graph_id) + by) % len(same)]
        self.soon(lambda: self.show_graph(graph_id), group="graph")

    @work
    async def action_return_to_view(self) -> None:
        """One of the views that were kept."""
        if not self._graph_is_open():
            return
        graph_id = self.graph_id
        views = await self.session.store.read(lambda project: graph_shape.views(project.db, graph_id))
        if not views:
            self.post_message(Told("no view of this graph was kept: S keeps one", error=True))
            return
        lines = [view_line(name, view) for name, view in views.items()]
        at = await self.app.push_screen_wait(Choice("Return to", lines))
        if at is not None:
            await self.bring_view(list(views.items())[at])

    async def bring_view(self, view: tuple[str, Mapping[str, Any]]) -> None:
        """Show the graph as a view says."""
        await self.show_graph(self.graph_id, view=view[1])

    def _graph_is_open(self) -> bool:
        """Whether there is a graph to do it on; says so if not."""
        try:
            self.here()
        except BadInput as error:
            self.post_message(Told(str(error), error=True))
            return False
        return True


def stepped(threshold: float, steps: int) -> float:
    """A threshold one step lower or higher, within bounds; the steps get finer near 1."""
    fine = threshold > HIGHEST - STEP + 1e-9 or (threshold > HIGHEST - STEP - 1e-9 and steps > 0)
    moved = threshold + steps * (FINE if fine else STEP)
    return threshold if not steps else round(max(LOWEST, min(moved, HIGHEST)), 4)


def read_thresholds(text: str) -> tuple[float, float]:
    """Two numbers between 0 and 1; `BadInput` for anything else."""
    parts = text.replace(",", " ").split()
    if len(parts) != 2:
        raise BadInput(f"{len(parts)} numbers", "write two, as 0.8 0.98")
    found = [parse_number(part) for part in parts]
    if not all(0 <= value <= 1 for value in found):
        raise BadInput("a threshold lies between 0 and 1", "write two, as 0.8 0.98")
    return found[0], found[1]


def view_line(name: str, view: Mapping[str, Any]) -> Text:
    """`French  nodes 0.80 edges 0.98  causes  3 pinned`."""
    look = view.get("look") or {}
    thresholds = [number(view.get(key), 2) for key in ("node_threshold", "edge_threshold")]
    how = "consequences" if look.get("direction") == "out" else "causes"
    pinned = f"{len(view.get('pins') or [])} pinned"
    return Text(f"{show_text(name)}  nodes {thresholds[0]} edges {thresholds[1]}  {how}  {pinned}")
