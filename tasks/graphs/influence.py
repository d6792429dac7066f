"""How much of the targets flows through each node, and the two scores of a graph (METHOD §4, circuit-tracer 0.5.0).

Â = |A| / row sum; I = wÂ + wÂ² + …. A target only has sources in lower layers, so one pass over the layers from the
top gives I: no power series.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.raw import Floats, Ints, RawGraph

SMALLEST_ROW_SUM = 1e-10
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class LayeredEdges:
    """Edges in the order in which influence flows: targets from the top layer down."""

    source: Ints
    target: Ints
    size: Numbers
    """|share|."""
    per_layer: tuple[int, ...]
    """How many edges each layer's targets have, from the top."""
    n_nodes: int

    def fractions(self) -> Numbers:
        """[edge]: each edge's part of its target's incoming size."""
        row_sum = np.bincount(self.target, self.size, self.n_nodes)
        return self.size / np.maximum(row_sum, SMALLEST_ROW_SUM)[self.target]

    def influence(self, fraction: Numbers, start: Floats) -> Numbers:
        """[node]: I, for `fraction` of each edge and the weights `start` of the targets."""
        output = start.astype(np.float64)
        for first, last in pairwise((0, *accumulate(self.per_layer))):
            if first < last:
                flow = output[self.target[first:last]] * fraction[first:last]
                output += np.bincount(self.source[first:last], flow, self.n_nodes)
        return output - start


def layered_edges(graph: RawGraph, order: NDArray[np.intp] | None = None) -> LayeredEdges:
    """The graph's edges (in `order`, if it sorts targets from the top down)."""
    depth = (graph.n_layers - graph.layer).astype(np.uint16)[graph.target]
    if order is None:
        order = depth.argsort(kind="stable")
    counts = np.bincount(depth, minlength=graph.n_layers + 1)
    size = np.abs(graph.share[order]).astype(np.float64)
    return LayeredEdges(graph.source[order], graph.target[order], size, tuple(counts.tolist()), graph.n_nodes)


@dataclass(frozen=True)
class Scores:
    """Both between 0 and 1, on the unpruned graph."""

    replacement: float
    """I(tokens) / (I(tokens) + I(errors)): how much of the paths back to the input avoids errors."""
    completeness: float
    """The influence-weighted share of each node's input that is not error."""


def scores(graph: RawGraph, extra_errors: NDArray[np.bool_] | None = None) -> Scores:
    """Replacement and completeness score of a graph; the nodes in `extra_errors` [node] count as errors too."""
    edges = layered_edges(graph)
    fraction = edges.fractions()
    influence = edges.influence(fraction, graph.weight)
    is_error = np.zeros(graph.n_nodes)
    is_error[graph.first_error : graph.first_token] = 1.0
    if extra_errors is not None:
        is_error[extra_errors] = 1.0
    tokens = influence[graph.first_token : graph.first_target].sum()
    errors = (influence * is_error).sum()
    error_share = np.bincount(edges.target, fraction * is_error[edges.source], graph.n_nodes)
    output = influence + graph.weight
    return Scores(
        replacement=float(tokens / max(tokens + errors, SMALLEST_ROW_SUM)),
        completeness=float((output * (1 - error_share)).sum() / max(output.sum(), SMALLEST_ROW_SUM)),
    )
