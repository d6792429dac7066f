"""The edges of a sparse graph in one order, in which every node threshold cuts a stretch from each layer."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.cutoff import smallest_kept
from tasks.graphs.dead_ends import Mask, without_dead_ends
from tasks.graphs.influence import LayeredEdges, layered_edges
from tasks.graphs.raw import Ints, RawGraph


class Stretches:
    """A graph's edges by their target's layer, and within a layer by the less influential of their ends."""

    def __init__(self, graph: RawGraph, rank: Ints) -> None:
        """Lay out `graph` by `rank` [node]: the place by influence from 1, 0 of nodes that always stay."""
        self._graph = graph
        end_rank = np.maximum(rank[graph.source], rank[graph.target])
        by_rank = end_rank.astype(np.min_scalar_type(graph.n_nodes), copy=False).argsort(kind="stable")
        depth = (graph.n_layers - graph.layer).astype(np.uint16)[graph.target]
        self._order = by_rank[depth[by_rank].argsort(kind="stable")]
        self._edges = layered_edges(graph, self._order)
        self._end_rank = end_rank[self._order]

    def choose(self, node_kept: Mask, threshold: float) -> tuple[Mask, NDArray[np.intp]]:
        """(nodes, edges ascending): the edges among `node_kept` that carry `threshold` of their influence, and the
        nodes that are then no dead ends."""
        place, edges = self._among(int(node_kept[: self._graph.first_token].sum()))
        fraction = edges.fractions()
        score = fraction * (edges.influence(fraction, self._graph.weight) + self._graph.weight)[edges.target]
        kept = (score >= smallest_kept([score], threshold)) & (edges.size > 0)
        node_kept, alive = without_dead_ends(self._graph, node_kept, edges.source[kept], edges.target[kept])
        return node_kept, np.sort(self._order[place[kept]][alive])

    def _among(self, n_kept: int) -> tuple[NDArray[np.intp], LayeredEdges]:
        """The edges between the `n_kept` most influential nodes and those that stay: their places, and themselves."""
        ends = np.cumsum(self._edges.per_layer)
        starts = ends - self._edges.per_layer
        counts = [
            int(np.searchsorted(self._end_rank[start:end], n_kept, side="right"))
            for start, end in zip(starts, ends, strict=True)
        ]
        parts = [np.arange(start, start + count) for start, count in zip(starts, counts, strict=True)]
        place = np.concatenate(parts)
        every = self._edges
        ends_and_size = every.source[place], every.target[place], every.size[place]
        return place, LayeredEdges(*ends_and_size, tuple(counts), every.n_nodes)
