"""A graph's raw arrays as one safetensors file, and the kept part as rows: what the store keeps of a trace."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.circuits.attribution import Attribution
from tasks.circuits.measures import Measures
from tasks.circuits.nodes import ActiveFeatures
from tasks.circuits.targets import FeatureTarget, LogitTarget, Target
from tasks.graphs.prune import Pruned
from tasks.model.language_model import LanguageModel

Row = tuple[int | float | str | None, ...]


def write_arrays(path: Path, graph: Attribution, pruned: Pruned, active: ActiveFeatures, measures: Measures) -> None:
    """Everything that re-pruning, validation and export need. Nodes are numbered as in `Attribution`."""
    arrays = {
        "active_layer": active.layer.int(),
        "active_position": active.position.int(),
        "active_index": active.index.int(),
        "active_activation": active.activation,
        "active_share": measures.share[: len(active)],
        "leaf_share": measures.share[len(active) :],
        "active_predicted_effect": measures.predicted_effect,
        "active_margin": measures.margin,
        "attributed": graph.rows_of_active.int(),
        "edge_source": graph.source.int(),
        "edge_target": graph.target.int(),
        "edge_share": graph.share,
        "edge_kept": torch.from_numpy(pruned.edge_kept),
        "node_kept": torch.from_numpy(pruned.node_kept),
        "node_influence": torch.from_numpy(pruned.influence).float(),
        "row_bias": graph.bias,
        "row_unattributed": graph.unattributed,
        "row_value": graph.value,
        "row_size": graph.size,
        "row_closing_error": graph.closing_error,
    }
    save_file({name: array.contiguous().cpu() for name, array in arrays.items()}, path)


def active_features(path: Path, device: torch.device) -> tuple[ActiveFeatures, Tensor, Tensor]:
    """(active features, their shares, their predicted effects) of a graph's file."""
    arrays = load_file(path, device=str(device))
    layer, position, index = (arrays[f"active_{name}"].long() for name in ("layer", "position", "index"))
    features = ActiveFeatures(layer, position, index, arrays["active_activation"])
    return features, arrays["active_share"], arrays["active_predicted_effect"]


def node_rows(graph: Attribution, pruned: Pruned, measures: Measures) -> list[Row]:
    """Rows of table `node`, without the graph's id: the kept nodes."""
    share = measures.node_share(graph)
    size = torch.zeros_like(share)
    size[: len(graph.features)] = graph.size[: graph.first_target_row]
    size[graph.first_target :] = graph.size[graph.first_target_row :]
    share[graph.first_target :] = graph.value[graph.first_target_row :]
    layer, position = pruned.raw.layer, pruned.raw.position
    effects = measures.predicted_effect[graph.rows_of_active]
    rows: list[Row] = []
    for node in pruned.node_kept.nonzero()[0].tolist():
        kind, feature, activation = _kind(graph, node)
        effect = float(effects[node]) if node < graph.first_error else None
        rows.append((node, kind, int(layer[node]), int(position[node]), feature, activation,
                     float(pruned.influence[node]), float(share[node]), effect, float(size[node])))  # fmt: skip
    return rows


def _kind(graph: Attribution, node: int) -> tuple[str, int, float]:
    """(kind, feature index or token id, activation or probability) of a node."""
    if node < graph.first_error:
        return "feature", int(graph.features.index[node]), float(graph.features.activation[node])
    if node < graph.first_token:
        return "error", -1, 0.0
    if node < graph.first_target:
        return "token", graph.tokens[node - graph.first_token], 0.0
    target = graph.targets[node - graph.first_target]
    if isinstance(target, LogitTarget):
        return "logit", target.token, target.probability
    return "feature", target.index, target.activation


def edge_rows(pruned: Pruned) -> list[Row]:
    """Rows of table `edge`, without the graph's id: the kept edges."""
    edges = pruned.graph.edges(data=True)
    return [(source, target, data["share"], data.get("effect")) for source, target, data in edges]


def kept_features(graph: Attribution, pruned: Pruned) -> Tensor:
    """The kept features, as rows of `graph.features`."""
    return torch.from_numpy(pruned.node_kept[: len(graph.features)].nonzero()[0]).to(graph.share.device)


def add_effects(
    graph: Attribution,
    pruned: Pruned,
    of_features: Float[Tensor, "target source"],
    of_tokens: Float[Tensor, "target pos"],
) -> None:
    """Write the direct effects of kept features and tokens on kept features and targets onto the kept edges."""
    kept = kept_features(graph, pruned).tolist()
    column = {node: index for index, node in enumerate(kept)}
    row = column | {graph.first_target + index: len(kept) + index for index in range(len(graph.targets))}
    feature_effects, token_effects = of_features.tolist(), of_tokens.tolist()
    for source, target, data in pruned.graph.edges(data=True):
        if source in column:
            data["effect"] = feature_effects[row[target]][column[source]]
        elif source >= graph.first_token:
            data["effect"] = token_effects[row[target]][source - graph.first_token]


def target_documents(model: LanguageModel, graph: Attribution) -> list[dict[str, object]]:
    """What the graph explains, one document each: its node and place, text, id, weight, value, and its rival."""
    values = graph.value[graph.first_target_row :].tolist()
    return [
        _target_document(model, target)
        | {
            "node": graph.first_target + index,
            "layer": target.layer_in(graph.n_layers),
            "position": target.position,
            "probability": target.probability,
            "value": value,
        }
        for index, (target, value) in enumerate(zip(graph.targets, values, strict=True))
    ]


def _target_document(model: LanguageModel, target: Target) -> dict[str, object]:
    if not isinstance(target, LogitTarget):
        return {"kind": "feature", "token": target.name, "id": target.index, "rival": None, "rival_id": None,
                "activation": target.activation}  # fmt: skip
    return {
        "kind": "logit",
        "token": model.token_text(target.token),
        "id": target.token,
        "rival": None if target.rival is None else model.token_text(target.rival),
        "rival_id": target.rival,
        "rank": target.rank,
    }


def stored_target(document: Mapping[str, Any]) -> Target:
    """The target that a document of `target_documents` stands for."""
    position, token = int(document["position"]), int(document["id"])
    if document.get("kind") == "feature":
        return FeatureTarget(int(document["layer"]), token, position, float(document["activation"]))
    return LogitTarget(token, position, float(document["probability"]), document["rival_id"])
