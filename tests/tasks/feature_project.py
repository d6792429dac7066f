"""A made-up project of two layers of features and graphs that they are active in, with no model anywhere."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from store import jobs
from store.project import ModelRecord, Project
from store.search import index_feature

MODEL = ModelRecord("builtin:none", "0" * 64, "llama", 3, 8, 16, 32, "cpu", "float32")
N_FEATURES, N_POSITIONS, LAYERS = 12, 5, (0, 1)
TOKENS = [" a", " b", " c", " d", " e"]


def active(seed: int) -> dict[str, Any]:
    """The arrays of what is active in graph `seed`."""
    draw = np.random.default_rng(seed)
    n = 14
    return {
        "active_layer": draw.integers(0, 2, n).astype(np.int32),
        "active_position": draw.integers(0, N_POSITIONS, n).astype(np.int32),
        "active_index": draw.integers(0, N_FEATURES, n).astype(np.int32),
        "active_activation": draw.random(n).astype(np.float32),
        "active_predicted_effect": draw.normal(0, 1, n).astype(np.float32),
    }


def decoder(layer: int) -> Any:
    """W_dec [F, m]: row 7 is silent, row 5 points where row 2 does."""
    weights = np.random.default_rng(layer).normal(0, 1, (N_FEATURES, 16)).astype(np.float32)
    weights[7] = 0
    weights[5] = 3 * weights[2] + 0.01 * weights[5]
    return weights


def create(directory: Path) -> None:
    """A set of two layers, all indexed; graphs 1 and 2 of it, 3 of neurons, 4 of another set."""
    with Project.create(directory, MODEL, "test") as made:
        job = jobs.start(made.db, "trace", "{}", "k")
        with made.transaction():
            for layer in LAYERS:
                _insert_layer(made, layer)
            for graph, dictionary in ((1, "made"), (2, "made"), (3, "neurons"), (4, "other")):
                _insert_graph(made, job, graph, dictionary)


def _insert_layer(made: Project, layer: int) -> None:
    stored = made.files.write("weights", f"L{layer}.safetensors", lambda p: save_file({"W_dec": decoder(layer)}, p))
    made.db.execute(
        "INSERT INTO dictionary (id, name, kind, layer, n_features, objective, file_id, config, metrics)"
        " VALUES (?, 'made', 'sae', ?, ?, 'topk', ?, '{}', '{}')",
        [layer + 1, layer, N_FEATURES, made.record_file(stored)],
    )
    for feature in range(N_FEATURES):
        promoted = [(f" word{(feature + shift) % N_FEATURES}", 1.0) for shift in range(3)]
        row = made.db.execute(
            "INSERT INTO feature (dictionary_id, feature, density, maximum, mean, histogram, promoted, suppressed)"
            " VALUES (?, ?, ?, 2.0, 1.0, '[]', ?, '[]')",
            [layer + 1, feature, (feature + 1) / 100, json.dumps(promoted)],
        ).lastrowid
        index_feature(made.db, int(row or 0), "", "text", " ".join(token for token, _ in promoted))


def _insert_graph(made: Project, job: int, graph: int, dictionary: str) -> None:
    stored = made.files.write("graphs", "g.safetensors", lambda path: save_file(active(graph), path))
    made.db.table("graph").insert({
        "id": graph, "job_id": job, "prompt": "a b c d e", "tokens": "[1, 2, 3, 4, 5]", "dictionary": dictionary,
        "rule": "ray", "targets": "[]", "file_id": made.record_file(stored), "closing_error": 0.0,
        "replacement_score": 0.5, "completeness_score": 0.5, "summary": json.dumps({"tokens": TOKENS}),
    })  # fmt: skip
