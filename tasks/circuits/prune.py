"""The small graph that carries most of the influence, as a networkx DiGraph (METHOD §4)."""

from dataclasses import dataclass

import networkx as nx
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from tasks.circuits.attribution import Attribution
from tasks.circuits.influence import edges_from_the_top, influence, normalised


@dataclass(frozen=True)
class Pruned:
    """What pruning kept of an `Attribution`."""

    node_kept: Bool[Tensor, " node"]
    edge_kept: Bool[Tensor, " edge"]
    """Parallel to the attribution's edges."""
    influence: Float[Tensor, " node"]
    """I on the unpruned graph."""
    graph: nx.DiGraph
    """Kept nodes by number, edges source -> target with their `share`."""


def prune(attribution: Attribution, node_threshold: float, edge_threshold: float) -> Pruned:
    """Keep nodes that make up `node_threshold` of all influence, then edges that make up `edge_threshold` of theirs.

    Tokens and logits always stay; features and errors that lead nowhere, and features that nothing leads to, go.
    """
    edges, order = edges_from_the_top(attribution)
    weights = attribution.logit_weights
    node_influence = influence(edges, normalised(edges, edges.size, attribution.n_nodes), weights)
    node_kept = node_influence >= _smallest_kept(node_influence, node_threshold)
    node_kept[attribution.first_token :] = True
    size = edges.size * (node_kept[edges.source] & node_kept[edges.target])
    fraction = normalised(edges, size, attribution.n_nodes)
    score = fraction * (influence(edges, fraction, weights) + weights)[edges.target]
    edge_kept_sorted = (score >= _smallest_kept(score, edge_threshold)) & (size > 0)
    edge_kept = torch.zeros_like(edge_kept_sorted)
    edge_kept[order] = edge_kept_sorted
    graph = _graph(attribution, node_kept, edge_kept)
    _drop_dead_ends(graph, attribution)
    node_kept = torch.zeros_like(node_kept)
    node_kept[list(graph.nodes)] = True
    edge_kept &= node_kept[attribution.source] & node_kept[attribution.target]
    return Pruned(node_kept, edge_kept, node_influence, graph)


def _smallest_kept(score: Float[Tensor, " n"], threshold: float) -> Tensor:
    """The score of the last element needed to reach `threshold` of the total."""
    ordered = score.sort(descending=True).values
    if not len(ordered):
        return score.new_zeros(())
    cumulative = ordered.cumsum(0) / ordered.sum().clamp(min=1e-30)
    index = int(torch.searchsorted(cumulative, torch.tensor(threshold, device=score.device)))
    return ordered[min(index, len(ordered) - 1)]


def _graph(attribution: Attribution, node_kept: Tensor, edge_kept: Tensor) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from(node_kept.nonzero().squeeze(1).tolist())
    arrays = (attribution.source, attribution.target, attribution.share)
    source, target, share = (array[edge_kept].tolist() for array in arrays)
    graph.add_weighted_edges_from(zip(source, target, share, strict=True), weight="share")
    return graph


def _drop_dead_ends(graph: nx.DiGraph, attribution: Attribution) -> None:
    """Remove features and errors without an outgoing edge and features without an incoming one, until stable."""
    while True:
        dead = [
            node
            for node in graph
            if (node < attribution.first_token and not graph.out_degree(node))
            or (node < attribution.first_error and not graph.in_degree(node))
        ]
        if not dead:
            return
        graph.remove_nodes_from(dead)
