"""The small graph that carries most of the influence, and how to find it again at other thresholds (METHOD §4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.cutoff import smallest_kept
from tasks.graphs.dead_ends import Mask
from tasks.graphs.influence import Numbers, layered_edges
from tasks.graphs.raw import RawGraph
from tasks.graphs.stretches import Stretches
from tasks.graphs.strips import Strips, n_cells

if TYPE_CHECKING:
    import networkx as nx

_CELLS_PER_EDGE = 4
"""So many cells of a matrix (8 bytes each) cost no more memory than one edge of a sorted list."""


@dataclass(frozen=True)
class Pruned:
    """What pruning kept of a graph."""

    raw: RawGraph
    node_kept: Mask
    """[node]."""
    edges: NDArray[np.int32 | np.intp]
    """The kept edges, as positions among the graph's edges, ascending."""
    influence: Numbers
    """[node]: I on the unpruned graph."""

    @cached_property
    def graph(self) -> nx.DiGraph:
        """Kept nodes by number, edges source -> target with their `share`."""
        import networkx as nx  # a tenth of a second that the app's first screen does without

        graph = nx.DiGraph()
        graph.add_nodes_from(self.node_kept.nonzero()[0].tolist())
        columns = (self.raw.source, self.raw.target, self.raw.share)
        triples = zip(*(column[self.edges].tolist() for column in columns), strict=True)
        graph.add_weighted_edges_from(triples, weight="share")
        return graph

    @property
    def edge_kept(self) -> Mask:
        """[edge]: the kept edges as a mask."""
        mask = np.zeros(len(self.raw.source), dtype=np.bool_)
        mask[self.edges] = True
        return mask


def prune(graph: RawGraph, node_threshold: float, edge_threshold: float) -> Pruned:
    """Keep nodes that make up `node_threshold` of all influence, then edges that make up `edge_threshold` of theirs.

    Tokens and targets always stay; features and errors that lead nowhere, and features that nothing leads to, go.
    """
    return Pruner(graph).prune(node_threshold, edge_threshold)


class Pruner:
    """A graph laid out once so that each pruning costs what its candidate edges cost."""

    def __init__(self, graph: RawGraph, layout: type[Strips] | type[Stretches] | None = None) -> None:
        """Find the influence of the nodes of `graph` and lay out its edges: as matrices unless they would be empty."""
        self.raw = graph
        edges = layered_edges(graph)
        self.influence = edges.influence(edges.fractions(), graph.weight)
        del edges  # before the layout takes as much again
        if layout is None:
            layout = Strips if n_cells(graph) <= _CELLS_PER_EDGE * len(graph.source) else Stretches
        self._edges = layout(graph, self._ranks())

    def _ranks(self) -> NDArray[np.intp]:
        """[node]: its place by influence from 1; 0 of tokens and targets, which always stay."""
        order = (-self.influence[: self.raw.first_token]).argsort(kind="stable")
        rank = np.zeros(self.raw.n_nodes, dtype=np.intp)
        rank[order] = np.arange(1, len(order) + 1)
        return rank

    def prune(self, node_threshold: float, edge_threshold: float) -> Pruned:
        """The graph at these thresholds."""
        node_kept = self.influence >= smallest_kept([self.influence], node_threshold)
        node_kept[self.raw.first_token :] = True
        node_kept, edges = self._edges.choose(node_kept, edge_threshold)
        return Pruned(self.raw, node_kept, edges, self.influence)
