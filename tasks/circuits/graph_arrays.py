"""A whole graph, kept or not, as dense arrays in one safetensors file: the layout of circuit-tracer's adjacency."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from store.graphs import GraphRecord

TOKEN, FEATURE, ERROR, LOGIT = range(4)
"""`node_kind`."""


def dense_arrays(record: GraphRecord, arrays: Path) -> bytes:
    """`adjacency` [node, node] (rows targets, columns sources, raw and signed) and what each node is.

    Nodes are features by (layer, position, index), errors by layer * n_positions + position, tokens, logits. Beside it:
    `node_kind` (0 token, 1 feature, 2 error, 3 logit), `node_layer` (-1 of tokens, n_layers of logits),
    `node_position`, `node_feature` (feature index; token id of tokens and logits; -1 of errors), `node_activation`,
    `node_influence`, `node_kept`, `node_predicted_effect` (nan where there is none), `logit_probability`,
    `edges_kept` [edge, 2] (target, source).
    """
    stored = load_file(arrays)
    attributed = stored["attributed"].long()
    n_nodes = len(stored["node_kept"])
    tensors = _nodes(record, stored, attributed, n_nodes)
    adjacency = torch.zeros(n_nodes, n_nodes)
    target, source = stored["edge_target"].long(), stored["edge_source"].long()
    adjacency[target, source] = stored["edge_share"]
    kept = stored["edge_kept"]
    pairs = torch.stack([target[kept], source[kept]], dim=1)
    tensors |= {
        "adjacency": adjacency,
        "node_influence": stored["node_influence"],
        "node_kept": stored["node_kept"],
        "logit_probability": torch.tensor([target["probability"] for target in record.targets]),
        "edges_kept": pairs[(pairs[:, 0] * n_nodes + pairs[:, 1]).argsort()],
    }
    return save({name: tensor.contiguous() for name, tensor in tensors.items()})


def _nodes(record: GraphRecord, stored: dict[str, Tensor], attributed: Tensor, n_nodes: int) -> dict[str, Tensor]:
    tokens = torch.tensor(record.token_ids)
    logits = torch.tensor([target["id"] for target in record.targets])
    logit_position = torch.tensor([target["position"] for target in record.targets])
    n_layers = (n_nodes - len(attributed) - len(tokens) - len(logits)) // len(tokens)
    every = torch.arange(len(tokens))
    n_errors = n_layers * len(tokens)
    counts = (len(attributed), n_errors, len(tokens), len(logits))

    def column(*parts: Tensor) -> Tensor:
        return torch.cat(parts)

    def filled(value: float) -> list[Tensor]:
        return [torch.full((count,), value) for count in counts]

    kinds = zip((FEATURE, ERROR, TOKEN, LOGIT), counts, strict=True)
    return {
        "node_kind": column(*(torch.full((count,), kind) for kind, count in kinds)),
        "node_layer": column(
            stored["active_layer"][attributed].long(),
            torch.arange(n_layers).repeat_interleave(len(tokens)),
            torch.full_like(tokens, -1),
            torch.full_like(logits, n_layers),
        ),
        "node_position": column(
            stored["active_position"][attributed].long(), every.repeat(n_layers), every, logit_position
        ),
        "node_feature": column(stored["active_index"][attributed].long(), torch.full((n_errors,), -1), tokens, logits),
        "node_activation": column(stored["active_activation"][attributed], *filled(0.0)[1:]),
        "node_predicted_effect": column(stored["active_predicted_effect"][attributed], *filled(float("nan"))[1:]),
    }
