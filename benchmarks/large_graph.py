"""A random graph of the size that a trace with a transcoder set leaves: what pruning and comparing are timed on."""

from __future__ import annotations

import numpy as np

from tasks.graphs.raw import RawGraph, raw_graph

N_LAYERS = 30
N_POSITIONS = 14
N_LOGITS = 10
_SPREAD = 1.3
"""Standard deviation of ln |share|: with it influence is spread as over the features of SmolLM2 SAEs."""


def large_graph(n_features: int, seed: int = 0) -> RawGraph:
    """`n_features` features; every source below and not after a target has an edge to it, heavy-tailed in size."""
    random = np.random.default_rng(seed)
    layer = np.sort(random.integers(0, N_LAYERS, n_features))
    position = random.integers(1, N_POSITIONS, n_features)
    chances = 0.5 ** np.arange(1, N_LOGITS + 1)
    nothing = np.empty(0, np.int32)

    def with_edges(source: np.ndarray, target: np.ndarray, share: np.ndarray) -> RawGraph:
        return raw_graph(
            layer=layer, position=position, n_layers=N_LAYERS, n_positions=N_POSITIONS,
            targets=[(N_LAYERS, N_POSITIONS - 1)] * N_LOGITS, probabilities=chances.tolist(),
            edges=(source, target, share),
        )  # fmt: skip

    nodes = with_edges(nothing, nothing, nothing)
    strength = np.exp(random.normal(0.0, _SPREAD, nodes.n_nodes)).astype(np.float32)
    sources, targets = [], []
    for target in [*range(n_features), *range(nodes.first_target, nodes.n_nodes)]:
        below = (nodes.layer < nodes.layer[target]) & (nodes.position <= nodes.position[target])
        found = below.nonzero()[0].astype(np.int32)
        sources.append(found)
        targets.append(np.full(len(found), target, np.int32))
    source = np.concatenate(sources)
    size = strength[source] * np.exp(random.standard_normal(len(source), np.float32) * np.float32(_SPREAD))
    signs = random.integers(0, 2, len(source), dtype=np.int8) * 2 - 1
    return with_edges(source, np.concatenate(targets), size * signs)
