"""One timed attribution by circuit-tracer 0.5.0, as a process of its own: prints one JSON line.

    python -m benchmarks.peer.attribution MODEL TRANSCODERS PROMPT ROWS BATCH [DUMP]

Runs in the peer's environment. Loading is not counted; a small graph is attributed first.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from circuit_tracer.attribution.attribute import attribute
from safetensors.torch import save_file

from benchmarks.peer.replacement_model import load
from benchmarks.process_cost import measured

MAX_LOGITS, LOGIT_PROBABILITY = 10, 0.95


def main(model: Path, transcoders: Path, prompt: str, rows: int, batch: int, path: Path | None) -> None:
    """Measure once."""
    torch.set_num_threads(1)
    replacement = load(model, transcoders)
    options = {"max_n_logits": MAX_LOGITS, "desired_logit_prob": LOGIT_PROBABILITY}
    attribute(prompt, replacement, max_feature_nodes=8, batch_size=8, **options)
    with measured() as cost:
        graph = attribute(prompt, replacement, max_feature_nodes=rows or None, batch_size=batch, **options)
    if path is not None:
        save_file({"adjacency": graph.adjacency_matrix, "selected": graph.selected_features}, path)
    counts = {"rows": len(graph.selected_features), "active": len(graph.active_features)}
    print(json.dumps(asdict(cost) | counts))


if __name__ == "__main__":
    _, where, features, text, n_rows, n_batch, *out = sys.argv
    main(Path(where), Path(features), text, int(n_rows), int(n_batch), Path(out[0]) if out else None)
