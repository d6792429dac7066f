"""What all of the graph pane rests on: its parts on the screen, the list of graphs, and the graph that is open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from textual.timer import Timer

from store import graphs
from store.errors import WorkbenchError
from tasks.graphs.lens import Lens
from tasks.graphs.subgraph import PartScores
from workbench.tui.messages import Told
from workbench.tui.pane import Session
from workbench.tui.panes.graph.facts import Traces, more_words, traces
from workbench.tui.panes.graph.latest import Latest
from workbench.tui.panes.graph.screen import GraphScreen
from workbench.tui.panes.graph.shown import Shape, Shown, as_groups, read_marks, read_shown
from workbench.tui.place import Place
from workbench.tui.render.graph_list import graph_line
from workbench.tui.render.token_map import map_cells
from workbench.tui.widgets.line_list import TextLines

SLOW_S = 0.03
"""A shape that takes longer is said to be on its way; saying so at once would cost its own frame."""
WORDS_S = 0.25
"""How long a shape stays before the words of what is new in it are read."""
EMPTY = "no graph yet: t on a prompt (pane 1) traces it, or `workbench trace PROMPT`"


class GraphCore(GraphScreen):
    """Opens graphs and keeps what is on the screen true; what keys do is in the classes above it."""

    def __init__(self, session: Session, name: str) -> None:
        """The pane; nothing is read yet."""
        super().__init__(session, name)
        self._traces: Traces | None = None
        self._learning: Timer | None = None
        self._saved: Mapping[str, Any] = {}
        self.shaping: Latest[Shape, Lens] = Latest(self._shape, self._take_lens, self._refuse)
        self.scoring: Latest[frozenset[int], PartScores] = Latest(self._score, self._take_scores, self._refuse)

    def on_unmount(self) -> None:
        """End the threads."""
        self.shaping.close()
        self.scoring.close()

    @property
    def pending(self) -> bool:
        """Whether another shape is on its way."""
        return self.shaping.pending

    # Opening.

    async def open(self) -> None:
        """Read the list."""
        await self._read_list()
        self.switch("list")

    async def _read_list(self) -> None:
        self.records = await self.session.store.read(lambda project: graphs.listing(project.db))
        self._traces = await self.session.store.read(lambda project: traces(project, self.graph_id))
        width = 400
        lines = TextLines([graph_line(record, width) for record in self.records])
        at = next((i for i, record in enumerate(self.records) if record.id == self.graph_id), self.graph_list.cursor)
        self.graph_list.show(lines, at, empty=EMPTY)

    async def show_graph(self, graph_id: int, node: str = "", view: Mapping[str, Any] | None = None) -> None:
        """Open a graph as it was stored or as `view` says, with the cursor on a node by name."""
        if view is None and self._saved.get("graph") == graph_id:
            view = self._saved
        self.shaping.drop()
        self.scoring.drop()
        document = dict(view or {})
        shown = await self.session.store.read(lambda project: read_shown(project, graph_id, document))
        self._traces = await self.session.store.read(lambda project: traces(project, graph_id))
        self.shown, self.known, self.looked, self._saved = shown, {}, Place(), {}
        selected = {n for n in document.get("selected", []) if isinstance(n, int) and 0 <= n < shown.graph.raw.n_nodes}
        shown.selected.update(selected)
        self.switch("tree")
        self.tree_list.show(shown.tree, self._line_of(shown, node, document))
        self.want_scores()
        self._learn_more()
        self.shaping.prepare(lambda: shown.pruner)
        if node and shown.find(node) not in shown.tree.lens.nodes:
            self.post_message(Told(f"{node} is not drawn in graph {graph_id}: ] keeps more nodes"))

    def _line_of(self, shown: Shown, node: str, view: Mapping[str, Any]) -> int:
        if node:
            return max(shown.tree.reveal(shown.find(node)), 0)
        cursor = view.get("cursor")
        return max(shown.tree.index_of(tuple(cursor)), 0) if isinstance(cursor, list) else 0

    async def go(self, place: Place) -> None:
        """Open the place's graph if it is another one, and put the cursor on its node."""
        if place.graph and place.graph != self.graph_id:
            await self.show_graph(place.graph, place.node)
        elif place.graph:
            if self.mode == "list":
                self.switch("tree")
            self.point_at(place.node)

    async def follow(self, place: Place) -> None:
        """Put the cursor on the feature that another pane looks at, if the open graph draws it."""
        if self.shown is None or self.mode != "tree" or not place.feature:
            return
        if place.dictionary in ("", self.shown.graph.record.dictionary):
            line = self.shown.tree.node_at(self.tree_list.cursor)
            if line is not None and line.name.startswith(f"{place.feature}@"):
                return
            names = [node for node in self.shown.tree.lens.nodes.values() if node.name.startswith(f"{place.feature}@")]
            if names:
                strongest = max(names, key=lambda node: abs(node.predicted_effect or node.share))
                self.point_at(strongest.name)

    def point_at(self, name: str) -> None:
        """The cursor to a node by name, if it is drawn."""
        if self.shown is None or not name:
            return
        node = self.shown.tree.node_at(self.tree_list.cursor)
        if node is None or node.name != name:
            self.reveal(self.shown.find(name))

    def reveal(self, node: int) -> bool:
        """Open the way to a node and put the cursor on it; whether it is drawn."""
        assert self.shown is not None
        index = self.shown.tree.reveal(node)
        if index >= 0:
            self.tree_list.show(self.shown.tree, index)
        return index >= 0

    # Shaping: what is wanted now, done in a thread, on the screen when it is done.

    def want(self, **changes: Any) -> None:
        """Want another shape: thresholds, pins, groups."""
        shown = self.here()
        shown.shape = replace(shown.shape, **changes)
        shown.tree.pinned = shown.shape.pinned
        self.shaping.want(shown.shape)
        self.set_timer(SLOW_S, self._say_pending)

    def _say_pending(self) -> None:
        if self.pending:
            self.draw_words()

    def _shape(self, shape: Shape) -> Lens:
        shown = self.shown
        assert shown is not None
        found = shown.shaped(shape)
        for root in shown.tree.roots:  # what the tree needs first is sorted here, not between two frames
            if root in found.nodes:
                found.degree(root, shown.tree.look.direction)
        return found

    def _take_lens(self, shape: Shape, lens: Lens) -> None:
        shown = self.shown
        if shown is None or lens.graph is not shown.graph:
            return
        shown.done, shown.tree.lens = shape, lens
        self.redraw_tree()
        if self.mode == "map":
            self.cell_map.show(map_cells(lens.drawn_nodes()), shown.graph.tokens)
        self.want_scores()
        if self._learning is not None:
            self._learning.stop()
        self._learning = self.set_timer(WORDS_S, self._learn_more)

    def redraw_tree(self) -> None:
        """Make the tree's lines anew, with the cursor on the same node or the nearest above it."""
        shown = self.shown
        assert shown is not None
        cursor = self.tree_list.cursor
        path = shown.tree.lines[cursor].path if cursor < len(shown.tree.lines) else ()
        words_below = cursor < len(shown.tree.lines) and shown.tree.lines[cursor].node is None
        shown.tree.rebuild()
        index = cursor if words_below and cursor < len(shown.tree) else max(shown.tree.index_of(path), 0)
        self.tree_list.show(shown.tree, index)
        self.draw_words()

    def want_scores(self) -> None:
        """Score what is pinned or selected."""
        assert self.shown is not None
        shown = self.shown
        chosen = frozenset(member for node in {*shown.shape.pinned, *shown.selected} for member in shown.members(node))
        shown.chosen = None
        if chosen:
            self.scoring.want(chosen)
        self.draw_words()

    def _score(self, chosen: frozenset[int]) -> PartScores:
        assert self.shown is not None
        return self.shown.scored(chosen)

    def _take_scores(self, chosen: frozenset[int], scores: PartScores) -> None:
        if self.shown is not None:
            self.shown.chosen = scores
            self.draw_words()

    def _refuse(self, error: WorkbenchError) -> None:
        self.post_message(Told(str(error), error=True))

    def _learn_more(self) -> None:
        """Read the words of the features that were not drawn before."""
        if self.shown is None:
            return
        graph, drawn = self.shown.graph, self.shown.tree.lens.drawn
        wanted = graph.unknown_words(drawn)
        if not wanted:
            return
        graph.asked(wanted)

        async def read() -> None:
            found = await self.session.store.read(lambda project: more_words(project, graph.record.dictionary, wanted))
            graph.learn(found)
            if self.shown is not None and self.shown.graph is graph:
                self.redraw_tree()

        self.soon(read, group="words")

    # What others write.

    async def store_changed(self) -> None:
        """Read again what somebody changed: the list, the measurements, the pins and groups."""
        before, graph_id = self._traces, self.graph_id
        now = await self.session.store.read(lambda project: traces(project, graph_id))
        if now == before or before is None or graph_id != self.graph_id:
            return
        self._traces = now
        if now.listing != before.listing:
            await self._read_list()
        if self.shown is not None and now.measured != before.measured:
            await self._reopen()
            return
        if self.shown is not None and now.marks != before.marks:
            await self.read_marks()
        if self.shown is not None and now.labels != before.labels:
            self.known.clear()
            self.shown.graph.forget_words()
            self._learn_more()
            self.soon(self.draw_card, group="card")

    async def _reopen(self) -> None:
        """The same graph, as it is looked at, with what was measured meanwhile."""
        document = self.state()
        mode = self.mode
        await self.show_graph(self.graph_id, view=document)
        self.switch(mode)

    async def read_marks(self) -> None:
        """The pins and groups as the store has them."""
        shown = self.shown
        assert shown is not None
        pins, groups = await self.session.store.read(lambda project: read_marks(project, shown.graph.record.id))
        if shown is not self.shown:
            return
        only_pinned = shown.shape.only_pinned and bool(pins)
        shape = replace(shown.shape, pinned=frozenset(pins), groups=as_groups(groups), only_pinned=only_pinned)
        if shape != shown.shape:
            shown.shape, shown.tree.pinned = shape, shape.pinned
            self.shaping.want(shape)

    # What comes back.

    def state(self) -> Mapping[str, Any]:
        """The graph, its shape and look, and where the cursor is."""
        if self.shown is None:
            return {}
        cursor = self.tree_list.cursor
        lines = self.shown.tree.lines
        return {
            "graph": self.graph_id,
            "mode": self.mode,
            "card": self.card_flipped,
            "cursor": list(lines[cursor].path) if cursor < len(lines) else [],
            "selected": sorted(self.shown.selected),
            **self.shown.document(),
        }

    async def restore(self, state: Mapping[str, Any]) -> None:
        """As it was left; a graph that is gone leaves the list."""
        self.card_flipped = bool(state.get("card"))
        graph_id = state.get("graph")
        if not isinstance(graph_id, int) or all(record.id != graph_id for record in self.records):
            return
        await self.show_graph(graph_id, view=state)
        mode = state.get("mode")
        if mode in ("list", "map"):
            self.switch(mode)
