"""What is asked of the model, of other graphs and of other panes, beginning from the graph on the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from rich.console import RenderableType
from textual import work

from store import graphs
from store.errors import BadInput
from store.graphs import GraphRecord
from store.project import Project
from tasks import heads, qk
from tasks.execute import earlier_document
from tasks.graphs.diff import Diff, Side, diff
from tasks.graphs.edit import Supernode
from tasks.graphs.view import NodeView, load_graph_view
from tasks.params import Params
from workbench.figures.graph_files import format_of, write_graph
from workbench.tui.actions import Action
from workbench.tui.messages import Asked, EditsSent, Told, Went
from workbench.tui.pane import Session
from workbench.tui.panes.graph.screen import told
from workbench.tui.panes.graph.shaping import Shaping
from workbench.tui.place import Place
from workbench.tui.render.graph_diff import diff_view
from workbench.tui.render.graph_list import graph_line
from workbench.tui.render.heads import heads_view, query_key_view
from workbench.tui.render.logit_difference import logit_difference_view
from workbench.tui.screens.choice import Choice
from workbench.tui.screens.page import Page
from workbench.tui.screens.question import Question

PAGE_CELLS = 110
LISTED = 40
"""Sources listed of a difference of two logits."""


class Asking(Shaping):
    """What keys do that needs more than the graph."""

    ASKING: ClassVar[tuple[Action, ...]] = (
        Action("heads", "h", "Show the attention heads that carry the edge under the cursor", "heads", changes=True),
        Action("query_key", "Q", "Show why a head attends from here to there", changes=True),
        Action("validate", "V", "Measure this graph's effects in the real model", changes=True),
        Action("ablate", "a", "Send to the console: ablate what is selected, or under the cursor", "ablate"),
        Action("steer", "plus", "Send to the console: steer it up"),
        Action("swap", "x", "Send to the console: swap it for its value in another prompt"),
        Action("compare", "d", "Compare with another graph; with two logits selected, those", "diff"),
        Action("show_feature", "f", "Show the feature under the cursor among the features"),
        Action("save_graph", "E", "Write the graph to a file: JSON, GraphML, DOT, SVG, HTML, safetensors"),
    )

    def __init__(self, session: Session, name: str) -> None:
        """The pane; nothing was asked yet."""
        super().__init__(session, name)
        self._waiting: dict[int, tuple[str, Params]] = {}
        """Job -> what it was asked, of those whose page is shown when they end."""

    # The model.

    @told
    def action_heads(self) -> None:
        """Which heads carry the edge to the line above."""
        shown, line = self.here(), self.line()
        if line.edge is None or line.node is None:
            raise BadInput("no edge is under the cursor", "go to a node below the root")
        nodes = shown.tree.lens.nodes
        names = [self._place_name(nodes[end]) for end in (line.edge.source, line.edge.target)]
        params = heads.Params(graph=self.graph_id, source=names[0], target=names[1])
        self.soon(lambda: self._page_of("heads", params), group="page")

    def _place_name(self, node: NodeView) -> str:
        if node.members:
            raise BadInput("an edge of a supernode is many edges", "G draws its members each by itself")
        if node.kind != "logit":
            return node.name
        return f"logit:{node.node - self.here().graph.raw.first_target}"

    @work
    async def action_query_key(self) -> None:
        """Ask for head, query and key, and split the score."""
        try:
            shown, line = self.here(), self.line()
        except BadInput as error:
            self.post_message(Told(str(error), error=True))
            return
        known = ""
        if line.node is not None and 0 < line.node.layer < shown.graph.raw.n_layers:
            known = f"L{line.node.layer}H0 {line.node.position}"
        words = "Which head, from which position, to which (without: where most of its attention goes)"
        answer = await self.app.push_screen_wait(
            Question(words, known, hint="L5H3 10 4", check=lambda text: read_query(self.graph_id, text))
        )
        if answer:
            await self._tell(lambda: self._page_of("qk", read_query(self.graph_id, answer)))

    async def _page_of(self, kind: str, params: Params) -> None:
        """Show the answer that the store has, or ask the worker and show it when it comes."""
        document = await self.session.store.read(lambda project: earlier_document(kind, params, project))
        if document is not None:
            self.app.push_screen(Page("Heads" if kind == "heads" else "Query and key", page_of(kind, document)))
            return
        job_id = await self.submitted(kind, params)
        self._waiting[job_id] = (kind, params)
        self.post_message(Told(f"job {job_id}: {kind}; its page comes up when it has ended"))

    async def job_ended(self, job_id: int, kind: str, state: str) -> None:
        """Show the page that was waited for; a new graph comes into the list."""
        await self.store_changed()
        waited = self._waiting.pop(job_id, None)
        if waited is not None and state == "succeeded":
            await self._page_of(*waited)

    @told
    def action_validate(self) -> None:
        """Hand the graph to the worker; the marks appear when it has ended."""
        self.here()
        self.post_message(Asked("validate", {"graph": self.graph_id}, f"validating graph {self.graph_id}"))

    # Other panes.

    @told
    def action_ablate(self) -> None:
        """Zero."""
        self._send(lambda name: f"ablate {name}")

    @told
    def action_steer(self) -> None:
        """Up by the largest activation in the corpus; neurons, of which none is known, by one."""
        many = "max" if self.here().graph.record.dictionary != "neurons" else ""
        self._send(lambda name: f"steer {name}=+1{many}")

    @told
    def action_swap(self) -> None:
        """As in another prompt, which the console asks for."""
        self._send(lambda name: f"swap {name}")

    def _send(self, edit: Callable[[str], str]) -> None:
        shown, node = self.here(), self.line().node
        chosen = sorted(shown.selected) or ([] if node is None else [node.node])
        nodes = [shown.tree.lens.nodes.get(each) or shown.graph.node(each) for each in chosen]
        names = [
            str(Supernode(view.name)) if view.members else view.name
            for view in nodes
            if view.kind in ("feature", "supernode")
        ]
        if not names:
            raise BadInput("only features can be edited", "go to one, or select some with v")
        record = shown.graph.record
        edits = tuple(edit(name) for name in names)
        self.post_message(EditsSent(edits, record.prompt, record.id, record.dictionary))

    @told
    def action_show_feature(self) -> None:
        """Its card with its examples, in the other pane."""
        shown, node = self.here(), self.line().node
        if node is None or node.kind != "feature":
            raise BadInput("no feature is under the cursor", "go to one")
        feature = f"L{node.layer}/{node.feature}"
        self.post_message(Went(Place("features", dictionary=shown.graph.record.dictionary, feature=feature)))

    # Other graphs, files.

    @work
    async def action_compare(self) -> None:
        """Two logits that are selected, or this graph and another."""
        if self.shown is None or self.mode == "list":
            self.post_message(Told("no graph is open: choose one with ⏎", error=True))
            return
        nodes = self.shown.tree.lens.nodes
        logits = [nodes[each] for each in sorted(self.shown.selected) if each in nodes and nodes[each].kind == "logit"]
        if len(logits) == 2:
            self.app.push_screen(Page("Two logits", self._logit_difference(logits[0], logits[1])))
            return
        others = [record for record in self.records if record.id != self.graph_id]
        if not others:
            self.post_message(Told("there is no other graph to compare with", error=True))
            return
        at = await self.app.push_screen_wait(Choice("Compare with", [graph_line(record, 400) for record in others]))
        if at is not None:
            await self._tell(lambda: self._compare(others[at]))

    async def _compare(self, other: GraphRecord) -> None:
        mine = self.graph_id

        def compared(project: Project) -> Diff:
            a, b = (Side(graphs.find(project.db, each), load_graph_view(project, each)) for each in (mine, other.id))
            return diff(a, b)

        found = await self.session.store.read(compared)
        width = min(PAGE_CELLS, self.app.size.width - 12)
        self.app.push_screen(Page(f"Graph {mine} and graph {other.id}", diff_view(found, width)))

    def _logit_difference(self, a: NodeView, b: NodeView) -> RenderableType:
        shown = self.here()
        lens = shown.tree.lens
        gifts = [lens.gifts(end.node) for end in (a, b)]
        values = {node: (gifts[0].get(node, 0.0), gifts[1].get(node, 0.0)) for node in gifts[0] | gifts[1]}
        ranked = sorted(values, key=lambda node: -abs(values[node][0] - values[node][1]))
        parts = [(lens.nodes[node], *values[node]) for node in ranked[:LISTED]]
        left = [values[node][0] - values[node][1] for node in ranked[LISTED:]]
        width = min(PAGE_CELLS, self.app.size.width - 12)
        return logit_difference_view((a, b), parts, (len(left), sum(left)), shown.graph.tokens, width)

    @work
    async def action_save_graph(self) -> None:
        """Ask for a file and write the stored graph."""
        if self.shown is None or self.mode == "list":
            self.post_message(Told("no graph is open: choose one with ⏎", error=True))
            return
        graph_id = self.graph_id
        words = "Write the stored graph to (.json, .graphml, .dot, .svg, .html or .safetensors)"
        answer = await self.app.push_screen_wait(Question(words, f"graph-{graph_id}.json", check=check_file))
        if answer:
            await self._tell(lambda: self._save(graph_id, Path(answer).expanduser()))

    async def _save(self, graph_id: int, file: Path) -> None:
        chosen = format_of(file)
        said = await self.session.store.read(lambda project: write_graph(project, graph_id, file, chosen))
        self.post_message(Told(f"wrote {said['file']}: {said['nodes']} nodes, {said['edges']} edges"))


def page_of(kind: str, document: dict[str, Any]) -> RenderableType:
    """The answer as the command line prints it."""
    return heads_view(document) if kind == "heads" else query_key_view(document)


def read_query(graph_id: int, text: str) -> qk.Params:
    """`L5H3 10 4` as params; `BadInput` for anything else."""
    head, *positions = text.split() or [""]
    try:
        numbers = [int(position) for position in positions]
    except ValueError as error:
        raise BadInput(f"{text!r} is no head and positions", "write them as L5H3 10 4") from error
    if len(numbers) > 2:
        raise BadInput("a head has one query and one key", "write them as L5H3 10 4")
    return qk.Params(graph=graph_id, head=head, **dict(zip(("query", "key"), numbers, strict=False)))


def check_file(text: str) -> None:
    """`BadInput` for what cannot be written."""
    file = Path(text).expanduser()
    format_of(file)
    if not file.parent.is_dir():
        raise BadInput(f"there is no directory {file.parent}", "make it first, or name another")
