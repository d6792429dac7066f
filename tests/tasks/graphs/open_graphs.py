"""Random graphs as they are when they are open, and the same through the view that the command line prints."""

from __future__ import annotations

from typing import Any

import numpy as np

from store.graphs import EdgeRecord, EffectRecord, FeatureWords, GraphRecord, NodeRecord
from tasks.graphs.node_numbers import NodeNumbers
from tasks.graphs.open_graph import OpenGraph
from tasks.graphs.prune import Pruned, prune
from tasks.graphs.raw import RawGraph
from tasks.graphs.view import GraphView, graph_view
from tests.tasks.graphs.test_influence_and_prune import random_graph

NODE_THRESHOLD, EDGE_THRESHOLD = 0.8, 0.9


def opened(seed: int) -> tuple[OpenGraph, GraphView]:
    """A random graph pruned at the thresholds above: open, and as a view."""
    random = np.random.default_rng(seed)
    raw = random_graph(seed, n_layers=4, density=0.7)
    pruned = prune(raw, NODE_THRESHOLD, EDGE_THRESHOLD)
    numbers = _numbers(raw, random)
    size = np.bincount(raw.target, np.abs(raw.share), raw.n_nodes)
    rows = [_row(raw, numbers, node, float(size[node])) for node in pruned.node_kept.nonzero()[0].tolist()]
    record = _record(raw, len(rows), len(pruned.edges))
    edges, edge_effect = _edges(raw, pruned, random)
    effects = [
        EffectRecord("ablation", row.layer, row.position, row.feature, 0.1, 0.2, "confirmed")
        for row in rows
        if row.kind == "feature" and random.random() < 0.5
    ]
    words = {(row.layer, row.feature): FeatureWords("", [(" to", 1.0)], [" on"]) for row in rows if row.feature % 2}
    graph = OpenGraph(
        record=record,
        raw=raw,
        numbers=numbers,
        arrays=_arrays(raw, numbers, pruned),
        rows={row.node: row for row in rows},
        effects={(effect.layer, effect.position, effect.feature): effect for effect in effects},
        edge_tests={},
        supernode_effects=(),
        edge_effect=edge_effect,
        words=dict(words),
    )
    return graph, graph_view(record, rows, edges, effects, words)


def _numbers(raw: RawGraph, random: np.random.Generator) -> NodeNumbers:
    n = raw.n_features
    effect = random.normal(size=n).astype(np.float32)
    effect[random.random(n) < 0.2] = np.nan
    size = np.bincount(raw.target, np.abs(raw.share), raw.n_nodes)[:n].astype(np.float64)
    return NodeNumbers(
        raw, random.permutation(100)[:n], np.ones(n, np.float32), effect, size, random.normal(size=raw.first_token)
    )


def _row(raw: RawGraph, numbers: NodeNumbers, node: int, size: float) -> NodeRecord:
    if node < raw.first_token:
        return numbers.record(node, 0.1)
    kind, layer = ("token", -1) if node < raw.first_target else ("logit", raw.n_layers)
    feature = node - (raw.first_token if kind == "token" else raw.first_target)
    return NodeRecord(node, kind, layer, int(raw.position[node]), feature, 0.5, 0.1, 0.2, None, size)


def _record(raw: RawGraph, n_nodes: int, n_edges: int) -> GraphRecord:
    tokens = [f" t{position}" for position in range(raw.n_positions)]
    targets: list[dict[str, Any]] = [
        {"node": node, "id": node - raw.first_target, "token": f" a{node}", "rival": None, "rival_id": None,
         "layer": raw.n_layers, "position": int(raw.position[node]), "probability": 0.5}
        for node in range(raw.first_target, raw.n_nodes)
    ]  # fmt: skip
    summary = {"tokens": tokens, "node_threshold": NODE_THRESHOLD, "edge_threshold": EDGE_THRESHOLD}
    ids = list(range(raw.n_positions))
    return GraphRecord(
        1, "p", ids, "toy", targets, "ray", 1e-7, 0.5, 0.6, summary, raw.n_layers, n_nodes, n_edges, None
    )


def _edges(raw: RawGraph, pruned: Pruned, random: np.random.Generator) -> tuple[list[EdgeRecord], Any]:
    """The kept edges by target, some with an effect, and the effects of all edges as an array."""
    effect = np.full(len(raw.source), np.nan)
    known = pruned.edges[random.random(len(pruned.edges)) < 0.7]
    effect[known] = random.normal(size=len(known))
    columns = (column[pruned.edges].tolist() for column in (raw.source, raw.target, raw.share, effect))
    edges = [
        EdgeRecord(source, target, share, None if np.isnan(found) else found)
        for source, target, share, found in zip(*columns, strict=True)
    ]  # fmt: skip
    return sorted(edges, key=lambda edge: (edge.target, edge.source)), effect


def _arrays(raw: RawGraph, numbers: NodeNumbers, pruned: Pruned) -> dict[str, Any]:
    n = raw.n_features
    return {
        "active_layer": raw.layer[:n], "active_position": raw.position[:n], "active_index": numbers.index,
        "active_activation": numbers.activation, "node_kept": pruned.node_kept, "edge_kept": pruned.edge_kept,
    }  # fmt: skip
