"""Nodes of a pruned graph that lead nowhere or come from nowhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.graphs.raw import Ints, RawGraph

Mask = NDArray[np.bool_]


def dead_ends(graph: RawGraph, node_kept: Mask, leads: Mask, fed: Mask) -> Mask:
    """[node]: which of `node_kept` are features or errors that do not lead anywhere, or features that are not fed."""
    alive = leads & fed
    alive[graph.first_error : graph.first_token] = leads[graph.first_error : graph.first_token]
    alive[graph.first_token :] = True
    return node_kept & ~alive


def without_dead_ends(graph: RawGraph, node_kept: Mask, source: Ints, target: Ints) -> tuple[Mask, Mask]:
    """(nodes, edges) left when dead ends go, and their edges with them, until there are none."""
    alive = np.ones(len(source), dtype=np.bool_)
    node_kept = node_kept.copy()
    while True:
        leads, fed = np.zeros(graph.n_nodes, dtype=np.bool_), np.zeros(graph.n_nodes, dtype=np.bool_)
        leads[source[alive]] = fed[target[alive]] = True
        dead = dead_ends(graph, node_kept, leads, fed)
        if not dead.any():
            return node_kept, alive
        node_kept &= ~dead
        alive &= node_kept[source] & node_kept[target]
