"""The graph pane: a pruned attribution graph as a tree from any root, shaped and questioned at every key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from rich.console import Group, RenderableType
from rich.text import Text
from textual.binding import BindingType

from tasks.graphs.view import NodeView
from workbench.tui.actions import Action, bindings
from workbench.tui.panes.graph.asking import Asking
from workbench.tui.panes.graph.reading import Reading
from workbench.tui.panes.graph.shaping import Shaping
from workbench.tui.render.bars import signed
from workbench.tui.render.graph_list import graph_table
from workbench.tui.render.graph_shape import score_line, shape_line
from workbench.tui.render.graph_tree import columns_words, describe, tree_row
from workbench.tui.render.token_map import logit_words, map_cells, map_rows
from workbench.tui.render.tokens import show_text


class Graph(Asking):
    """Pane 3."""

    TITLE: ClassVar[str] = "Graph"
    ACTIONS: ClassVar[tuple[Action, ...]] = (*Reading.READING, *Shaping.SHAPING, *Asking.ASKING)
    BINDINGS: ClassVar[list[BindingType]] = bindings(ACTIONS)
    HELP: ClassVar[str] = """
What the model's answer is made of, read from the answer back to the prompt. Under each node stand the nodes that feed
it, strongest first: with the bar and the percentage, the share of everything that the node is made of (− pulls against
it); then its predicted effect on the answer, in nats of the answer's logit; then, if the graph was validated, what
removing it in the real model did, and ✓ agrees, ~ is weaker, ✗ contradicts. A mark in the guides is the edge's own.

⏎ and → open a node, r makes it the root, backspace goes back. ↩ is a node that is open elsewhere: ⏎ goes there.
An error is what no feature explains; "pruned, constants" is what the thresholds left out. [ and ] keep fewer or
more nodes, { and } edges; pinned nodes (◆), tokens and logits always stay. The last line has how much of the answer
the graph explains, and how much the pinned and selected nodes (●) do by themselves.
"""

    def exported(self, width: int) -> RenderableType:
        """What is on the screen: the list, the tree as it is opened, or the map."""
        shown = self.shown
        if self.mode == "list" or shown is None:
            return graph_table(self.records)
        facts, record = shown.facts(False), shown.graph.record
        heading = [
            Text(f"graph {record.id}  {show_text(record.prompt)}", style="bold"),
            shape_line(facts, width),
            score_line(facts, width),
        ]
        if self.mode == "map":
            rows = map_rows(map_cells(shown.tree.lens.drawn_nodes()), shown.graph.tokens, width)
            words = logit_words(shown.graph.node(root) for root in shown.graph.roots)
            return Group(*heading, Text(words, style="bold"), *(line for _, line in rows))
        measured = shown.graph.has_measured
        lines = [tree_row(line, shown.graph.tokens, width, measured) for line in shown.tree.lines]
        return Group(*heading, Text(columns_words(measured), style="dim"), *lines)

    def finding(self) -> tuple[str, Mapping[str, Any]] | None:
        """The node under the cursor with its numbers, or the graph's scores."""
        shown = self.shown
        if shown is None or self.mode == "list":
            return None
        record = shown.graph.record
        provenance: dict[str, Any] = {"pane": "graph", "graph": record.id, "prompt": record.prompt}
        node = shown.tree.node_at(self.tree_list.cursor) if self.mode == "tree" else None
        if node is None or node.kind not in ("feature", "supernode"):
            scores = f"replacement {record.replacement_score:.3f}, completeness {record.completeness_score:.3f}"
            numbers = {"replacement": record.replacement_score, "completeness": record.completeness_score}
            return f"graph {record.id} of {show_text(record.prompt)}: {scores}", provenance | numbers
        provenance |= {
            "node": node.name,
            "value": node.predicted_effect,
            "measured": node.measured_effect,
            "share": node.share,
        }
        if node.kind == "feature":
            provenance |= {"dictionary": record.dictionary, "feature": f"L{node.layer}/{node.feature}"}
        return f"graph {record.id}: {_numbers(node, shown.graph.tokens, shown.unit)}", provenance

    def copied(self) -> str:
        """The name of the node under the cursor; of a token or logit, its text; of the list, the prompt."""
        if self.mode == "list" or self.shown is None:
            at = self.graph_list.cursor
            return self.records[at].prompt if at < len(self.records) else ""
        node = self.shown.tree.node_at(self.tree_list.cursor) if self.mode == "tree" else None
        if node is None:
            return self.shown.graph.record.prompt
        return node.text if node.kind in ("token", "logit") else node.name


def _numbers(node: NodeView, tokens: tuple[str, ...], unit: str) -> str:
    """`L12/345@7 ·Paris predicted +0.525, measured +0.510 nats of ·French − ·Spanish (confirmed)`."""
    words = f"{describe(node, tokens)[0]} predicted {signed(node.predicted_effect)}"
    if node.measured_effect is not None:
        words += f", measured {signed(node.measured_effect)}"
    verdict = f" ({node.verdict})" if node.measured_effect is not None else ""
    return f"{words} nats of {unit}{verdict}"
