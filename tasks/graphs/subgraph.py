"""How good an explanation a part of a graph is: replacement and completeness of any choice of its features."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tasks.graphs.dead_ends import Mask
from tasks.graphs.influence import Scores, scores
from tasks.graphs.raw import Ints, RawGraph


@dataclass(frozen=True)
class PartScores:
    """A choice of features and its scores."""

    n_features: int
    n_edges: int
    """Edges from anything to the chosen features and the targets, but from other features."""
    scores: Scores
    """What the features that were not chosen write counts as error."""
    renormalised: Scores
    """As Neuronpedia's page has it: what was not chosen is left out, and what stays is taken for all there is."""

    def document(self) -> dict[str, float | int]:
        """As JSON."""
        return {
            "features": self.n_features,
            "edges": self.n_edges,
            "replacement_score": self.scores.replacement,
            "completeness_score": self.scores.completeness,
            "renormalised_replacement_score": self.renormalised.replacement,
            "renormalised_completeness_score": self.renormalised.completeness,
        }


def part_scores(graph: RawGraph, chosen: Mask, kept_edges: Ints) -> PartScores:
    """The scores of the features in `chosen` [feature], with all tokens, errors and targets.

    Every other feature becomes a leaf that counts as error, so nothing that the targets are made of is left out
    (METHOD §4; Neuronpedia's graph guide, appendix C, asks for the same). `kept_edges` are the edges of the pruned
    graph, as positions: Neuronpedia's page knows no others.
    """
    outside = np.zeros(graph.n_nodes, dtype=np.bool_)
    outside[: graph.n_features] = ~chosen
    with_leaves = _only(graph, (~outside[graph.target]).nonzero()[0])
    return PartScores(
        n_features=int(chosen.sum()),
        n_edges=int((~outside[with_leaves.source]).sum()),
        scores=scores(with_leaves, outside),
        renormalised=scores(_only(graph, _page_edges(graph, outside, kept_edges))),
    )


def _page_edges(graph: RawGraph, outside: Mask, kept_edges: Ints) -> Ints:
    """The kept edges among the chosen features, tokens, targets, and the errors that feed a chosen feature."""
    source, target = graph.source[kept_edges], graph.target[kept_edges]
    inside = ~outside
    if outside[: graph.n_features].any():
        feeds = np.zeros(graph.n_nodes, dtype=np.bool_)
        feeds[source[(target < graph.n_features) & ~outside[target]]] = True
        inside[graph.first_error : graph.first_token] &= feeds[graph.first_error : graph.first_token]
    return np.asarray(kept_edges[inside[source] & inside[target]])


def _only(graph: RawGraph, edges: Ints) -> RawGraph:
    """The graph with these edges alone."""
    return replace(graph, source=graph.source[edges], target=graph.target[edges], share=graph.share[edges])
