"""circuit-tracer 0.5.0's graphs of given cases as small arrays. Runs in the peer's own environment.

    python -m benchmarks.peer.graphs CASES.json OUT

CASES.json lists objects with `name`, `model` and `transcoders` (directories), `backend`, `prompt`, `max_logits`,
`logit_probability`, and `max_nodes`, `batch`, `update_interval`. Each becomes OUT/<name>.safetensors.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from circuit_tracer.attribution.attribute import attribute
from circuit_tracer.graph import Graph, compute_graph_scores, compute_node_influence, prune_graph
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.peer.replacement_model import load

NODE_THRESHOLD, EDGE_THRESHOLD = 0.8, 0.98


def arrays(graph: Graph) -> dict[str, Tensor]:
    """The graph's nodes, its edges as (index into the flat adjacency, value), and what pruning and scoring say."""
    adjacency = graph.adjacency_matrix
    weights = torch.zeros(len(adjacency))
    weights[-len(graph.logit_targets) :] = graph.logit_probabilities
    pruned = prune_graph(graph, NODE_THRESHOLD, EDGE_THRESHOLD)
    flat = adjacency.flatten().nonzero().squeeze(1)
    return {
        "edge": flat.int(),
        "edge_value": adjacency.flatten()[flat],
        "active_features": graph.active_features.int(),
        "activation_values": graph.activation_values,
        "selected_features": graph.selected_features.int(),
        "input_tokens": graph.input_tokens.int(),
        "logit_token_ids": graph.logit_token_ids.int(),
        "logit_probabilities": graph.logit_probabilities,
        "node_influence": compute_node_influence(adjacency, weights),
        "node_kept": pruned.node_mask,
        "edges_kept": pruned.edge_mask.nonzero().int(),
        "scores": torch.tensor(compute_graph_scores(graph)),
    }


def run(case: dict[str, Any], directory: Path) -> None:
    """One case to one file."""
    model = load(Path(case["model"]), Path(case["transcoders"]), case["backend"])
    graph = attribute(
        case["prompt"],
        model,
        max_n_logits=case["max_logits"],
        desired_logit_prob=case["logit_probability"],
        batch_size=case["batch"],
        max_feature_nodes=case["max_nodes"],
        update_interval=case["update_interval"],
    )
    tensors = {name: tensor.detach().contiguous().clone() for name, tensor in arrays(graph).items()}
    options = {name: value for name, value in case.items() if name not in ("model", "transcoders")}
    save_file(tensors, directory / f"{case['name']}.safetensors", metadata={"case": json.dumps(options)})


if __name__ == "__main__":
    out = Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    for each in json.loads(Path(sys.argv[1]).read_text()):
        try:
            run(each, out)
        except (ValueError, RuntimeError, AttributeError, KeyError, TypeError) as error:
            print(f"{each['name']}: {type(error).__name__}: {error}", file=sys.stderr)
