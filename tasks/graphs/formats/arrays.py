"""A whole graph, kept or not, as dense arrays in one safetensors file: the layout of circuit-tracer's adjacency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from store.graphs import GraphRecord
from tasks.graphs.raw import RawGraph, read_raw_graph

TOKEN, FEATURE, ERROR, LOGIT = range(4)
"""`node_kind`."""

Arrays = dict[str, NDArray[np.generic]]


def dense_arrays(record: GraphRecord, path: Path) -> bytes:
    """`adjacency` [node, node] (rows targets, columns sources, raw and signed) and what each node is.

    Nodes are features by (layer, position, index), errors by layer * n_positions + position, tokens, logits. Beside it:
    `node_kind` (0 token, 1 feature, 2 error, 3 logit), `node_layer` (-1 of tokens, n_layers of logits),
    `node_position`, `node_feature` (feature index; token id of tokens and logits; -1 of errors), `node_activation`,
    `node_influence`, `node_kept`, `node_predicted_effect` (nan where there is none), `logit_probability`,
    `edges_kept` [edge, 2] (target, source).
    """
    stored = load_file(path)
    raw = read_raw_graph(record, path)
    adjacency = np.zeros((raw.n_nodes, raw.n_nodes), dtype=np.float32)
    adjacency[raw.target, raw.source] = raw.share
    kept = stored["edge_kept"].astype(bool)
    pairs = np.stack([raw.target[kept], raw.source[kept]], axis=1).astype(np.int64)
    arrays: Arrays = {
        "adjacency": adjacency,
        "node_influence": stored["node_influence"],
        "node_kept": stored["node_kept"],
        "logit_probability": np.array([target["probability"] for target in record.targets], dtype=np.float32),
        "edges_kept": pairs[(pairs[:, 0] * raw.n_nodes + pairs[:, 1]).argsort()],
        "node_layer": raw.layer.astype(np.int64),
        "node_position": raw.position.astype(np.int64),
    }
    return save(arrays | _identities(record, raw, stored))


def _identities(record: GraphRecord, raw: RawGraph, stored: Arrays) -> Arrays:
    """What each node is, beside its place."""
    attributed = stored["attributed"]
    n_errors, n_tokens, n_targets = raw.n_layers * raw.n_positions, raw.n_positions, len(record.targets)
    rest = n_errors + n_tokens + n_targets
    kind = np.repeat([FEATURE, ERROR, TOKEN, LOGIT], [raw.n_features, n_errors, n_tokens, n_targets])
    feature = [
        stored["active_index"][attributed],
        np.full(n_errors, -1),
        record.token_ids,
        [target["id"] for target in record.targets],
    ]
    activation, effect = (stored[f"active_{name}"][attributed] for name in ("activation", "predicted_effect"))
    return {
        "node_kind": kind,
        "node_feature": np.concatenate(feature).astype(np.int64),
        "node_activation": np.concatenate([activation, np.zeros(rest)]).astype(np.float32),
        "node_predicted_effect": np.concatenate([effect, np.full(rest, np.nan)]).astype(np.float32),
    }
