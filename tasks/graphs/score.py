"""The scores of a stored graph: of the whole, of what pruning kept, and of any choice of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from store import graphs
from store.graphs import NodeRecord
from store.project import Project
from tasks.graphs.dead_ends import Mask
from tasks.graphs.feature_name import named_nodes
from tasks.graphs.raw import Ints, RawGraph, read_raw_graph
from tasks.graphs.subgraph import part_scores
from tasks.graphs.supernodes import supernode_members


def graph_scores(
    project: Project, graph_id: int, names: Sequence[str] = (), supernodes: Sequence[str] = (), kept: bool = False
) -> dict[str, Any]:
    """The scores of the whole graph, of the pruned one, and of the features chosen by name, supernode, or as kept.

    Every attributed feature can be chosen, kept or not. `BadInput` if one is not in the graph.
    """
    record = graphs.find(project.db, graph_id)
    path = project.files.verify(graphs.arrays(project, graph_id))
    raw, arrays = read_raw_graph(record, path), load_file(path)
    index = arrays["active_index"][arrays["attributed"]]
    kept_edges = arrays["edge_kept"].astype(bool).nonzero()[0]
    every = np.ones(raw.n_features, dtype=np.bool_)
    whole = part_scores(raw, every, np.arange(len(raw.source)))
    kept_features = arrays["node_kept"].astype(bool)[: raw.n_features]
    pruned = part_scores(raw, kept_features, kept_edges)
    document: dict[str, Any] = {
        "graph": graph_id,
        "closing_error": record.closing_error,
        **{name: record.summary.get(name) for name in ("unattributed_share", "unreplaced_share")},
        "whole": whole.document(),
        "pruned": pruned.document(),
        "chosen": None,
    }
    if names or supernodes or kept:
        chosen = kept_features & kept | _by_name(raw, index, names) | _by_supernode(project, graph_id, raw, supernodes)
        document["chosen"] = part_scores(raw, chosen, kept_edges).document()
    return document


def _by_name(raw: RawGraph, index: Ints, names: Sequence[str]) -> Mask:
    """[feature]: those that the names mean."""
    places = zip(raw.layer.tolist(), raw.position.tolist(), index.tolist(), strict=False)
    every = [
        NodeRecord(node, "feature", layer, position, feature, 0.0, 0.0, 0.0, None, 0.0)
        for node, (layer, position, feature) in enumerate(places)
    ]
    chosen = np.zeros(raw.n_features, dtype=np.bool_)
    for name in names:
        chosen[named_nodes(name, every, raw.n_positions)] = True
    return chosen


def _by_supernode(project: Project, graph_id: int, raw: RawGraph, supernodes: Sequence[str]) -> Mask:
    """[feature]: the members of these supernodes."""
    chosen = np.zeros(raw.n_features, dtype=np.bool_)
    for name in supernodes:
        members = supernode_members(project, graph_id, name)
        chosen[[node for node in members if node < raw.n_features]] = True
    return chosen
