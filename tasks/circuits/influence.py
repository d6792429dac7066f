"""How much of the logits flows through each node, and the two scores of a graph (METHOD §4, circuit-tracer 0.5.0).

Â = |A| / row sum; I = wÂ + wÂ² + …. A target only has sources in lower layers, so one pass over the layers from the
top gives I: no power series.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.circuits.attribution import Attribution

SMALLEST_ROW_SUM = 1e-10


@dataclass(frozen=True)
class Edges:
    """Edges in the order in which influence flows: targets from the top layer down."""

    source: Tensor
    target: Tensor
    size: Tensor
    """|share|."""
    segments: tuple[int, ...]
    """How many edges each layer's targets have, from the top."""

    def by_layer(self, *arrays: Tensor) -> Iterator[tuple[Tensor, ...]]:
        """Arrays that are parallel to the edges, one layer of targets at a time."""
        yield from zip(*(array.split(list(self.segments)) for array in arrays), strict=True)


def edges_from_the_top(graph: Attribution) -> tuple[Edges, Tensor]:
    """The graph's edges sorted by the layer of their target, and the order that sorts them."""
    layer = graph.node_layer[graph.target]
    order = layer.argsort(descending=True, stable=True)
    counts = torch.bincount(layer, minlength=graph.n_layers + 1).flip(0)
    edges = Edges(graph.source[order], graph.target[order], graph.share[order].abs(), tuple(counts.tolist()))
    return edges, order


def normalised(edges: Edges, size: Float[Tensor, " edge"], n_nodes: int) -> Float[Tensor, " edge"]:
    """Each edge's fraction of its target's incoming size."""
    row_sum = torch.zeros(n_nodes, device=size.device).index_add(0, edges.target, size)
    return size / row_sum.clamp(min=SMALLEST_ROW_SUM)[edges.target]


def influence(edges: Edges, fraction: Float[Tensor, " edge"], start: Float[Tensor, " node"]) -> Float[Tensor, " node"]:
    """I of every node, for fractions from `normalised` and the weights `start` of the logits."""
    result = torch.zeros_like(start)
    for source, target, part in edges.by_layer(edges.source, edges.target, fraction):
        result.index_add_(0, source, (result + start)[target] * part)
    return result


@dataclass(frozen=True)
class Scores:
    """Both between 0 and 1, on the unpruned graph."""

    replacement: float
    """I(tokens) / (I(tokens) + I(errors)): how much of the paths back to the input avoids errors."""
    completeness: float
    """The influence-weighted share of each node's input that is not error."""


def scores(graph: Attribution) -> Scores:
    """Replacement and completeness score of the unpruned graph."""
    edges, _ = edges_from_the_top(graph)
    weights = graph.logit_weights
    fraction = normalised(edges, edges.size, graph.n_nodes)
    node_influence = influence(edges, fraction, weights)
    is_error = torch.zeros_like(weights)
    is_error[graph.first_error : graph.first_token] = 1.0
    tokens = node_influence[graph.first_token : graph.first_logit].sum()
    errors = (node_influence * is_error).sum()
    error_share = torch.zeros_like(weights).index_add(0, edges.target, fraction * is_error[edges.source])
    output = node_influence + weights
    return Scores(
        replacement=float(tokens / (tokens + errors).clamp(min=SMALLEST_ROW_SUM)),
        completeness=float((output * (1 - error_share)).sum() / output.sum().clamp(min=SMALLEST_ROW_SUM)),
    )
