"""The project that the app is timed on: a million made-up features and a graph of 8 000 attributed ones."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from benchmarks import feature_store
from benchmarks.large_graph import N_LAYERS, N_LOGITS, N_POSITIONS, large_graph
from store import graphs, jobs
from store.graphs import EdgeRecord, NodeRecord
from store.project import Project
from tasks.graphs.prune import Pruned, prune
from tasks.graphs.raw import RawGraph

N_FEATURES, N_NODES = 1_000_000, 8_000
NODE_THRESHOLD, EDGE_THRESHOLD = 0.8, 0.98
PROMPT = "a prompt of just fourteen made-up tokens that nobody ever wrote down before today"


def create(directory: Path, n_features: int = N_FEATURES, n_nodes: int = N_NODES) -> int:
    """Make the project; the id of its graph."""
    feature_store.create(directory, n_features)
    raw = large_graph(n_nodes)
    pruned = prune(raw, NODE_THRESHOLD, EDGE_THRESHOLD)
    with Project.open(directory, write=True) as project:
        random = np.random.default_rng(1)
        arrays = _arrays(raw, pruned, random, n_features // feature_store.N_LAYERS)
        stored = project.files.write("graphs", "graph.safetensors", lambda path: save_file(arrays, path))
        with project.transaction():
            job = jobs.start(project.db, "trace", json.dumps({"prompt": PROMPT}), "made")
            graph = project.db.table("graph").insert(_row(job, project.record_file(stored), raw, pruned)).last_pk
            graphs.insert_rows(project.db, int(graph or 0), _nodes(raw, pruned, arrays), _edges(pruned))
            jobs.succeed(project.db, job, {"graph": graph}, 1.0, 1.0)
    return int(graph or 0)


def _arrays(raw: RawGraph, pruned: Pruned, random: np.random.Generator, a_layer: int) -> dict[str, np.ndarray]:
    n = raw.n_features
    rows = n + N_LOGITS
    size = np.bincount(raw.target, np.abs(raw.share), raw.n_nodes)[np.r_[0:n, raw.first_target : raw.n_nodes]]
    effect = random.normal(0.0, 0.2, n).astype(np.float32)
    return {
        "active_layer": raw.layer[:n], "active_position": raw.position[:n],
        "active_index": random.integers(0, a_layer, n).astype(np.int32),
        "active_activation": random.exponential(2.0, n).astype(np.float32),
        "active_share": effect * 0.5, "active_predicted_effect": effect,
        "active_margin": np.full(n, np.nan, np.float32),
        "leaf_share": np.zeros(raw.first_target - raw.first_error, np.float32),
        "attributed": np.arange(n, dtype=np.int32),
        "edge_source": raw.source, "edge_target": raw.target, "edge_share": raw.share,
        "edge_kept": pruned.edge_kept, "node_kept": pruned.node_kept,
        "node_influence": pruned.influence.astype(np.float32), "row_size": size.astype(np.float32),
        **{name: np.zeros(rows, np.float32) for name in ("row_bias", "row_unattributed", "row_value")},
        "row_closing_error": np.zeros(rows, np.float32),
    }  # fmt: skip


def _row(job: int, file_id: int, raw: RawGraph, pruned: Pruned) -> dict[str, object]:
    words = PROMPT.split()
    tokens = [words[0], *(f" {word}" for word in words[1:])][:N_POSITIONS]
    targets = [
        {"node": raw.first_target + i, "id": i, "token": f" t{i}", "rival": None, "position": N_POSITIONS - 1,
         "layer": N_LAYERS, "probability": 0.5 ** (i + 1), "value": 1.0}
        for i in range(N_LOGITS)
    ]  # fmt: skip
    summary = {
        "tokens": tokens, "n_layers": N_LAYERS, "nodes": raw.n_nodes, "edges": len(raw.source),
        "kept_nodes": int(pruned.node_kept.sum()), "kept_edges": len(pruned.edges),
        "node_threshold": NODE_THRESHOLD, "edge_threshold": EDGE_THRESHOLD,
    }  # fmt: skip
    return {
        "job_id": job, "prompt": PROMPT, "tokens": json.dumps(list(range(N_POSITIONS))), "file_id": file_id,
        "dictionary": feature_store.SET, "targets": json.dumps(targets), "rule": "ray", "closing_error": 1e-7,
        "replacement_score": 0.5, "completeness_score": 0.9, "summary": json.dumps(summary),
    }  # fmt: skip


def _nodes(raw: RawGraph, pruned: Pruned, arrays: dict[str, np.ndarray]) -> list[NodeRecord]:
    records = []
    for node in pruned.node_kept.nonzero()[0].tolist():
        place = int(raw.layer[node]), int(raw.position[node])
        influence = float(pruned.influence[node])
        if node < raw.n_features:
            index, activation = int(arrays["active_index"][node]), float(arrays["active_activation"][node])
            effect, size = float(arrays["active_predicted_effect"][node]), float(arrays["row_size"][node])
            record = NodeRecord(node, "feature", *place, index, activation, influence, 0.5 * effect, effect, size)
        elif node < raw.first_token:
            record = NodeRecord(node, "error", *place, -1, 0.0, influence, 0.0, None, 0.0)
        elif node < raw.first_target:
            record = NodeRecord(node, "token", *place, node - raw.first_token, 0.0, influence, 0.0, None, 0.0)
        else:
            at = node - raw.first_target
            size = float(arrays["row_size"][raw.n_features + at])
            record = NodeRecord(node, "logit", *place, at, 0.5 ** (at + 1), influence, 1.0, None, size)
        records.append(record)
    return records


def _edges(pruned: Pruned) -> list[EdgeRecord]:
    raw = pruned.raw
    columns = (column[pruned.edges].tolist() for column in (raw.source, raw.target, raw.share))
    return [EdgeRecord(source, target, share, share) for source, target, share in zip(*columns, strict=True)]
