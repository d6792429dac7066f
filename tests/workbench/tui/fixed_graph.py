"""A graph with round numbers, written by the store's own functions: the same screen on every machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from store import graphs
from store.graphs import EdgeRecord, EffectRecord, NodeRecord
from store.project import Project

PROMPT = "The capital of \x1b[31mFrance[/INST] is"
TOKENS = ["The", " capital", " of", " \x1b[31mFrance[/INST]", " \u202eis"]
N_LAYERS = 3
FEATURES = (
    # layer, position, index, activation, share, predicted effect
    (0, 3, 11, 2.0, 0.25, 0.5),
    (1, 3, 345, 4.0, 0.5, 1.0),
    (1, 4, 8, 1.0, -0.125, -0.25),
    (2, 4, 91, 3.0, 0.75, 1.5),
)
_E, _T = len(FEATURES), len(FEATURES) + N_LAYERS * len(TOKENS)
_LOGITS = _T + len(TOKENS)
EDGES = (
    # source, target, share in units of the target, effect
    (_T + 3, 0, 2.0, 1.5),
    (0, 1, 2.0, 1.0),
    (_T + 3, 1, 1.0, 0.5),
    (_E + 3, 1, 0.5, None),
    (0, 2, -1.0, -0.5),
    (_T + 4, 2, 0.5, 0.25),
    (1, 3, 3.0, 2.0),
    (2, 3, -0.5, -0.25),
    (0, 3, 0.25, 0.25),
    (3, _LOGITS, 2.0, 1.5),
    (2, _LOGITS, -0.5, -0.25),
    (1, _LOGITS, 0.25, 0.25),
    (_E + 5 + 4, _LOGITS, 0.25, None),
    (_T + 4, _LOGITS, 0.5, 0.5),
    (3, _LOGITS + 1, 0.5, 0.25),
    (2, _LOGITS + 1, 1.0, 0.5),
)


def insert_graph(directory: Path) -> int:
    """Write the graph, with an effect measured of three of its features; its id."""
    n_nodes = _LOGITS + 2
    source, target = (np.array([edge[end] for edge in EDGES], np.int32) for end in (0, 1))
    share = np.array([edge[2] for edge in EDGES], np.float32)
    size = np.bincount(target, np.abs(share), n_nodes) + 0.25  # a constant or something pruned is in every node
    with Project.open(directory, write=True) as project:
        arrays = _arrays(source, target, share, size.astype(np.float32))
        stored = project.files.write("graphs", "graph.safetensors", lambda path: save_file(arrays, path))
        with project.transaction():
            graph = _insert_row(project, project.record_file(stored))
            edges = [EdgeRecord(*edge) for edge in EDGES]
            graphs.insert_rows(project.db, graph, list(_nodes(size)), edges)
            measured = [
                (FEATURES[3], 1.375, "confirmed"),
                (FEATURES[1], 0.25, "weak"),
                (FEATURES[2], 0.5, "contradicted"),
            ]
            effects = [
                EffectRecord("ablation", layer, position, index, effect, real, verdict)
                for (layer, position, index, _, _, effect), real, verdict in measured
            ]
            graphs.insert_effects(project.db, graph, 1, effects)
    return graph


def _arrays(source: Any, target: Any, share: Any, size: Any) -> dict[str, Any]:
    columns = [np.array(column) for column in zip(*FEATURES, strict=True)]
    n = len(FEATURES)
    return {
        **{f"active_{name}": columns[at].astype(np.int32) for at, name in enumerate(("layer", "position", "index"))},
        "active_activation": columns[3].astype(np.float32),
        "active_share": columns[4].astype(np.float32),
        "active_predicted_effect": columns[5].astype(np.float32),
        "attributed": np.arange(n, dtype=np.int32),
        "row_size": size[:n],
        "leaf_share": np.full(_LOGITS - n, 0.125, np.float32),
        "edge_source": source,
        "edge_target": target,
        "edge_share": share,
        "edge_kept": np.ones(len(source), bool),
        "node_kept": _kept(),
    }


def _kept() -> Any:
    """Everything but the errors that no edge begins at."""
    kept = np.ones(_LOGITS + 2, bool)
    kept[_E:_T] = False
    kept[[_E + 3, _E + 9]] = True
    return kept


def _nodes(size: Any) -> list[NodeRecord]:
    rows = []
    for node in _kept().nonzero()[0].tolist():
        if node < _E:
            layer, position, index, activation, share, effect = FEATURES[node]
            rows.append(
                NodeRecord(node, "feature", layer, position, index, activation, 0.5, share, effect, float(size[node]))
            )
        elif node < _T:
            layer, position = divmod(node - _E, len(TOKENS))
            rows.append(NodeRecord(node, "error", layer, position, -1, 0.0, 0.1, 0.125, None, 0.0))
        elif node < _LOGITS:
            rows.append(NodeRecord(node, "token", -1, node - _T, node - _T, 1.0, 0.2, 0.25, None, 0.0))
        else:
            p = (0.5, 0.25)[node - _LOGITS]
            rows.append(
                NodeRecord(node, "logit", N_LAYERS, 4, 50 + node - _LOGITS, p, 1.0, 3.5, None, float(size[node]))
            )
    return rows


def _insert_row(project: Project, file_id: int) -> int:
    targets = [
        {"kind": "logit", "token": token, "id": 50 + rank, "rival": None, "rival_id": None, "rank": rank,
         "node": _LOGITS + rank, "layer": N_LAYERS, "position": 4, "probability": p, "value": 3.5}
        for rank, (token, p) in enumerate(((" Paris", 0.5), (" \x1bLyon", 0.25)))
    ]  # fmt: skip
    summary = {"tokens": TOKENS, "n_layers": N_LAYERS, "node_threshold": 0.8, "edge_threshold": 0.98}
    project.db.execute(
        "INSERT INTO job (kind, params, params_hash, state, created_at) VALUES ('trace', '{}', '', 'succeeded', '')"
    )
    columns = [1, PROMPT, [1, 2, 3, 4, 5], "toy", targets, "ray", file_id, 1e-7, 0.625, 0.875, summary]
    return int(
        project.db.execute(
            "INSERT INTO graph (job_id, prompt, tokens, dictionary, targets, rule, file_id, closing_error,"
            " replacement_score, completeness_score, summary) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [json.dumps(value) if isinstance(value, list | dict) else value for value in columns],
        ).lastrowid
        or 0
    )
