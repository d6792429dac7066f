"""The small graph that carries most of the influence, and how to find it again at other thresholds (METHOD §4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import networkx as nx
import numpy as np
from numpy.typing import NDArray

from tasks.graphs.influence import LayeredEdges, Numbers, layered_edges
from tasks.graphs.raw import Ints, RawGraph

Mask = NDArray[np.bool_]
_BUCKET_BITS = 44
"""How many low bits of a float64 one bucket of `smallest_kept` spans: 256 buckets a power of two."""


@dataclass(frozen=True)
class Pruned:
    """What pruning kept of a graph."""

    raw: RawGraph
    node_kept: Mask
    """[node]."""
    edges: NDArray[np.intp]
    """The kept edges, as positions among the graph's edges, ascending."""
    influence: Numbers
    """[node]: I on the unpruned graph."""

    @cached_property
    def graph(self) -> nx.DiGraph:
        """Kept nodes by number, edges source -> target with their `share`."""
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
    """A graph sorted once so that each pruning costs what its candidate edges cost.

    Edges lie by their target's layer, and within a layer by the less influential of their ends: whatever the node
    threshold, the candidates are the beginning of each layer's stretch.
    """

    def __init__(self, graph: RawGraph) -> None:
        """Sort the edges of `graph` and find the influence of its nodes."""
        self.raw = graph
        edges = layered_edges(graph)
        self.influence = edges.influence(edges.fractions(), graph.weight)
        self._rank = self._ranks()
        end_rank = np.maximum(self._rank[graph.source], self._rank[graph.target])
        by_rank = end_rank.astype(np.min_scalar_type(graph.n_nodes), copy=False).argsort(kind="stable")
        depth = (graph.n_layers - graph.layer).astype(np.uint16)[graph.target]
        self._order = by_rank[depth[by_rank].argsort(kind="stable")]
        self._edges = layered_edges(graph, self._order)
        self._end_rank = end_rank[self._order]

    def _ranks(self) -> NDArray[np.intp]:
        """[node]: its place by influence from 1; 0 of tokens and targets, which always stay."""
        order = (-self.influence[: self.raw.first_token]).argsort(kind="stable")
        rank = np.zeros(self.raw.n_nodes, dtype=np.intp)
        rank[order] = np.arange(1, len(order) + 1)
        return rank

    def prune(self, node_threshold: float, edge_threshold: float) -> Pruned:
        """The graph at these thresholds."""
        node_kept = self.influence >= smallest_kept(self.influence, node_threshold)
        node_kept[self.raw.first_token :] = True
        chosen, edges = self._among(int(node_kept[: self.raw.first_token].sum()))
        fraction = edges.fractions()
        score = fraction * (edges.influence(fraction, self.raw.weight) + self.raw.weight)[edges.target]
        kept = (score >= smallest_kept(score, edge_threshold)) & (edges.size > 0)
        node_kept, alive = _without_dead_ends(self.raw, node_kept, edges.source[kept], edges.target[kept])
        return Pruned(self.raw, node_kept, np.sort(self._order[chosen[kept][alive]]), self.influence)

    def _among(self, n_kept: int) -> tuple[NDArray[np.intp], LayeredEdges]:
        """The edges between the `n_kept` most influential nodes, tokens and targets: their places, and themselves."""
        ends = np.cumsum(self._edges.per_layer)
        starts = ends - self._edges.per_layer
        counts = [
            int(np.searchsorted(self._end_rank[start:end], n_kept, side="right"))
            for start, end in zip(starts, ends, strict=True)
        ]
        parts = [np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)]
        chosen = np.concatenate(parts)
        every = self._edges
        ends_and_size = every.source[chosen], every.target[chosen], every.size[chosen]
        return chosen, LayeredEdges(*ends_and_size, tuple(counts), every.n_nodes)


def smallest_kept(score: Numbers, threshold: float) -> float:
    """The score (≥ 0) of the last element, from the greatest down, that is needed to reach `threshold` of the total.

    Without sorting everything: elements are counted into buckets by the leading bits of their score, and only the
    bucket in which the threshold is reached is sorted.
    """
    if not len(score) or threshold >= 1.0:
        return 0.0
    bucket = np.ascontiguousarray(score, dtype=np.float64).view(np.int64) >> _BUCKET_BITS
    lowest = int(bucket.min())
    mass = np.bincount(bucket - lowest, score)[::-1].cumsum()
    wanted = threshold * mass[-1]
    index = min(int(np.searchsorted(mass, wanted)), len(mass) - 1)
    inside = np.sort(score[bucket - lowest == len(mass) - 1 - index])[::-1]
    if not len(inside):
        return float(score.min())
    before = float(mass[index - 1]) if index else 0.0
    last = int(np.searchsorted(before + inside.cumsum(), wanted))
    return float(inside[min(last, len(inside) - 1)])


def _without_dead_ends(graph: RawGraph, node_kept: Mask, source: Ints, target: Ints) -> tuple[Mask, Mask]:
    """(nodes, edges) left when features and errors without an outgoing edge, and features without an incoming one, go.

    Repeated until stable.
    """
    alive = np.ones(len(source), dtype=np.bool_)
    node_kept = node_kept.copy()
    number = np.arange(graph.n_nodes)
    while True:
        leads = np.bincount(source[alive], minlength=graph.n_nodes) > 0
        fed = np.bincount(target[alive], minlength=graph.n_nodes) > 0
        dead = node_kept & (((number < graph.first_token) & ~leads) | ((number < graph.first_error) & ~fed))
        if not dead.any():
            return node_kept, alive
        node_kept &= ~dead
        alive &= node_kept[source] & node_kept[target]
