"""The graph on the screen: how it is shaped and looked at, what is pinned and selected, and the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store import graph_shape, graphs
from store.project import Project
from tasks.graphs.lens import Lens, lens
from tasks.graphs.open_graph import OpenGraph, open_graph
from tasks.graphs.prune import Pruner
from tasks.graphs.raw import Ints
from tasks.graphs.subgraph import PartScores, part_scores
from tasks.graphs.view import NodeView
from workbench.tui.panes.graph.lens_tree import LensTree, Look
from workbench.tui.render.graph_shape import ShapeFacts
from workbench.tui.render.token_map import logit_words

NODE_THRESHOLD, EDGE_THRESHOLD = 0.8, 0.98
"""Where steps begin in a graph that does not say how it was pruned: `workbench trace`'s own."""
Groups = tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class Shape:
    """What decides which nodes and edges are drawn. A threshold of None is the stored graph's, whatever it was."""

    node_threshold: float | None = None
    edge_threshold: float | None = None
    pinned: frozenset[int] = frozenset()
    only_pinned: bool = False
    grouped: bool = False
    groups: Groups = ()


@dataclass(eq=False)
class Shown:
    """One open graph."""

    graph: OpenGraph
    shape: Shape
    """What is wanted; `done` is what is on the screen."""
    done: Shape
    tree: LensTree
    selected: set[int] = field(default_factory=set)
    trail: list[tuple[Look, int]] = field(default_factory=list)
    """The looks before, each with the node that was under the cursor."""
    chosen: PartScores | None = None

    @cached_property
    def pruner(self) -> Pruner:
        """Made once, in the thread that prunes: for 8 000 nodes that takes seconds."""
        return Pruner(self.graph.raw)

    @cached_property
    def unit(self) -> str:
        """What shares and effects are nats of."""
        targets = self.graph.record.targets[:1]
        nodes = [self.graph.node(root) for root in self.graph.roots[: len(targets)]]
        return logit_words(nodes).rsplit(" ", 1)[0] if nodes and nodes[0].kind == "logit" else "the target"

    @property
    def thresholds(self) -> tuple[float | None, float | None]:
        """Node and edge threshold as wanted, or as stored where nothing else is wanted; None if not known."""
        stored = stored_thresholds(self.graph)
        wanted = self.shape.node_threshold, self.shape.edge_threshold
        return (stored[0] if wanted[0] is None else wanted[0], stored[1] if wanted[1] is None else wanted[1])

    @property
    def groups(self) -> dict[str, list[int]]:
        """The supernodes by name."""
        return {name: list(nodes) for name, nodes in self.shape.groups}

    def group_of(self, node: int) -> str:
        """The supernode that a node is in; nothing if it is in none. Of a drawn group, its own name."""
        view = self.tree.lens.nodes.get(node)
        if view is not None and view.members:
            return view.name
        return next((name for name, nodes in self.shape.groups if node in nodes), "")

    def members(self, node: int) -> list[int]:
        """The nodes that a drawn node stands for: itself, or a group's members."""
        view = self.tree.lens.nodes.get(node)
        return self.groups.get(view.name, []) if view is not None and view.members else [node]

    def kept(self, shape: Shape) -> tuple[NDArray[np.bool_], Ints]:
        """What pruning keeps: nodes [node], and the places of edges."""
        return kept_at(self, shape)

    def shaped(self, shape: Shape) -> Lens:
        """The lens of a shape."""
        groups = {name: list(nodes) for name, nodes in shape.groups} if shape.grouped else None
        return lens(self.graph, *self.kept(shape), shape.pinned, shape.only_pinned, groups)

    def scored(self, chosen: frozenset[int]) -> PartScores:
        """The scores of these nodes' features."""
        mask = np.zeros(self.graph.raw.n_features, dtype=np.bool_)
        mask[[node for node in chosen if node < self.graph.raw.n_features]] = True
        return part_scores(self.graph.raw, mask, self.kept(self.done)[1])

    def facts(self, pending: bool) -> ShapeFacts:
        """What the lines below the tree say."""
        here, record = self.tree.lens, self.graph.record
        thresholds = self.thresholds
        return ShapeFacts(
            n_nodes=len(here.drawn),
            of_nodes=self.graph.raw.n_nodes,
            n_edges=here.n_kept_edges,
            of_edges=len(self.graph.raw.source),
            node_threshold=thresholds[0],
            edge_threshold=thresholds[1],
            direction=self.tree.look.direction,
            by=self.tree.look.by,
            replacement=record.replacement_score,
            completeness=record.completeness_score,
            n_pinned=len(self.shape.pinned),
            n_selected=len(self.selected),
            only_pinned=self.shape.only_pinned,
            grouped=self.shape.grouped,
            changed=thresholds != stored_thresholds(self.graph),
            pending=pending,
            chosen=self.chosen,
        )

    def find(self, name: str) -> int:
        """The node of a name, drawn or not; -1 if the graph has none."""
        return self.graph.find(name)

    def matching(self, words: str, first: int) -> NodeView | None:
        """The first drawn node after line `first` of the drawn ones whose name, label or tokens hold `words`."""
        wanted = words.lower()
        ranked = sorted(self.tree.lens.nodes.values(), key=lambda node: -abs(node.predicted_effect or 0.0))
        found = [node for node in ranked if _holds(node, wanted, self.graph.tokens)]
        if not found:
            return None
        place = next((index for index, node in enumerate(found) if node.node == first), -1)
        return found[(place + 1) % len(found)]

    def document(self) -> dict[str, Any]:
        """The view as JSON: what a name stands for, and what is restored."""
        shape = self.shape
        return {
            "node_threshold": shape.node_threshold,
            "edge_threshold": shape.edge_threshold,
            "only_pinned": shape.only_pinned,
            "grouped": shape.grouped,
            "look": self.tree.look.document(),
        }


def kept_at(shown: Shown, shape: Shape) -> tuple[NDArray[np.bool_], Ints]:
    """What the stored graph kept, or what pruning anew keeps."""
    stored = stored_thresholds(shown.graph)
    wanted = shape.node_threshold, shape.edge_threshold
    if wanted in ((None, None), stored):
        return shown.graph.stored_nodes, shown.graph.stored_edges
    defaults = stored[0] or NODE_THRESHOLD, stored[1] or EDGE_THRESHOLD
    pruned = shown.pruner.prune(
        defaults[0] if wanted[0] is None else wanted[0], defaults[1] if wanted[1] is None else wanted[1]
    )
    return pruned.node_kept, pruned.edges


def stored_thresholds(graph: OpenGraph) -> tuple[float | None, float | None]:
    """The thresholds that the stored graph was pruned at; None where it does not say."""
    summary = graph.record.summary
    node, edge = summary.get("node_threshold"), summary.get("edge_threshold")
    return None if node is None else float(node), None if edge is None else float(edge)


def read_shown(project: Project, graph_id: int, view: Mapping[str, Any]) -> Shown:
    """Read a graph to be looked at as `view` says (`Shown.document`), or as it was stored."""
    return shown_graph(open_graph(project, graph_id), *read_marks(project, graph_id), view)


def read_marks(project: Project, graph_id: int) -> tuple[list[int], dict[str, list[int]]]:
    """The pins and the supernodes of a graph."""
    return graph_shape.pins(project.db, graph_id), graphs.supernodes(project.db, graph_id)


def shown_graph(
    graph: OpenGraph, pins: Sequence[int], groups: Mapping[str, Sequence[int]], view: Mapping[str, Any]
) -> Shown:
    """The graph as `view` says, with these pins and supernodes."""
    pinned = frozenset(node for node in pins if 0 <= node < graph.raw.n_nodes)
    shape = Shape(
        node_threshold=read_threshold(view.get("node_threshold")),
        edge_threshold=read_threshold(view.get("edge_threshold")),
        pinned=pinned,
        only_pinned=bool(view.get("only_pinned")) and bool(pinned),
        grouped=bool(view.get("grouped")),
        groups=as_groups(groups),
    )
    stored = lens(graph, graph.stored_nodes, graph.stored_edges)
    shown = Shown(graph, shape, Shape(), LensTree(stored))
    if shape != Shape():
        stored = shown.shaped(shape)
    look = view.get("look")
    shown.tree = LensTree(stored, Look.read(look) if isinstance(look, dict) else None)
    shown.tree.pinned, shown.tree.selected, shown.done = pinned, shown.selected, shape
    return shown


def read_threshold(value: object) -> float | None:
    """A threshold from a stored document; None for what is none."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= 1 else None


def as_groups(groups: Mapping[str, Sequence[int]]) -> Groups:
    """Supernodes as a value that can be compared."""
    return tuple((name, tuple(nodes)) for name, nodes in groups.items())


def _holds(node: NodeView, wanted: str, tokens: Sequence[str]) -> bool:
    token = tokens[node.position] if 0 <= node.position < len(tokens) else ""
    texts = (node.name, node.label, node.text, token, *node.fires_on, *node.promoted)
    return any(wanted in text.lower() for text in texts)
