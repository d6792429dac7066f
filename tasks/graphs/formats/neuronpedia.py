"""A pruned graph as the JSON that circuit-tracer and Neuronpedia read, with extra keys for what only we know.

Their readers: circuit-tracer 0.5.0 `frontend/graph_models.py`, Neuronpedia `graph-schema.json` (draft 7). Both ignore
keys that they do not know. A link's `weight` is the share, raw and signed, in units of its target, as theirs is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from importlib.metadata import version
from pathlib import PurePath
from typing import Any

from store.graphs import EdgeRecord, NodeRecord
from store.json_numbers import finite
from store.project import ModelRecord
from tasks.graphs.formats.stored import StoredGraph
from tasks.graphs.view import NodeView, Verdict

GENERATOR = "circuit workbench"
"""`metadata.info.generator.name`."""
SCHEMA_VERSION = 1
"""Of circuit-tracer's files: features are Cantor numbers of (layer, index)."""
_TRACE_KEYS = (
    "chat", "system", "prefill", "special_start", "first_position", "unreplaced", "dictionary_layers",
    "active_features", "attributed_features", "unattributed_share", "unreplaced_share",
)  # fmt: skip
"""What travels of a graph's summary: how it was traced, and what of it was left out."""


def graph_json(graph: StoredGraph) -> bytes:
    """The kept nodes and edges as one JSON document; ASCII, so that it is inert wherever it is printed."""
    ids = {node.node: node_id(graph, node) for node in graph.nodes}
    document = {
        "metadata": _metadata(graph),
        "qParams": _saved_state(graph, ids),
        "nodes": [_node(graph, node, ids[node.node]) for node in graph.nodes],
        "links": [_link(edge, ids) for edge in graph.edges],
    }
    return json.dumps(finite(document), allow_nan=False, separators=(",", ":")).encode()


def cantor(layer: int, index: int) -> int:
    """One number for (layer, feature index): the Cantor pairing that circuit-tracer's readers undo."""
    return (layer + index) * (layer + index + 1) // 2 + index


def cantor_pair(number: int) -> tuple[int, int]:
    """(layer, feature index) of a Cantor number."""
    diagonal = (math.isqrt(8 * number + 1) - 1) // 2
    index = number - diagonal * (diagonal + 1) // 2
    return diagonal - index, index


def node_id(graph: StoredGraph, node: NodeRecord) -> str:
    """Kind, layer, position and feature: no two nodes share one, and an error is never taken for a feature."""
    kind = "target" if node.kind == "feature" and graph.is_target(node) else node.kind
    feature = () if node.kind == "error" else (node.feature,)
    return "_".join(map(str, (kind, _layer(graph, node), node.position, *feature)))


def scan_name(model: ModelRecord) -> str:
    """The model's name as Neuronpedia writes it: the last part of its spec, in lower case."""
    last = PurePath(model.spec.rsplit(":", 1)[-1]).name or model.spec
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower())


def _layer(graph: StoredGraph, node: NodeRecord) -> str:
    """`E` of tokens, one above the last layer's successor of logits, as circuit-tracer has them."""
    if node.kind == "token":
        return "E"
    return str(graph.record.n_layers + 1 if node.kind == "logit" else node.layer)


def _metadata(graph: StoredGraph) -> dict[str, Any]:
    record, summary = graph.record, graph.record.summary
    thresholds = {
        name: summary.get(name, graph.settings.get(name)) for name in ("node_threshold", "edge_threshold")
    }  # fmt: skip
    return {
        "slug": f"graph-{record.id}",
        "scan": summary.get("scan") or scan_name(graph.model),
        "transcoder_list": [],
        "prompt_tokens": summary["tokens"],
        "prompt": record.prompt,
        "node_threshold": thresholds["node_threshold"],
        "schema_version": SCHEMA_VERSION,
        "info": {
            "description": f"{record.dictionary}, rule {record.rule}, closing error {record.closing_error:.1e}",
            "generator": {"name": GENERATOR, "version": version("workbench")},
            "create_time_ms": _milliseconds(record.created_at),
        },
        "generation_settings": dict(graph.settings),
        "pruning_settings": thresholds,
        "replacement_score": record.replacement_score,
        "completeness_score": record.completeness_score,
        "closing_error": record.closing_error,
        "rule": record.rule,
        "dictionary": record.dictionary,
        "model": summary.get("model") or {
            "spec": graph.model.spec, "revision": graph.model.revision, "n_layers": record.n_layers,
        },
        "token_ids": record.token_ids,
        "targets": [{key: value for key, value in target.items() if key != "node"} for target in record.targets],
        "trace": {key: summary[key] for key in _TRACE_KEYS if key in summary},
    }  # fmt: skip


def _milliseconds(time: str | None) -> int | None:
    return None if time is None else round(datetime.fromisoformat(time).timestamp() * 1000)


def _saved_state(graph: StoredGraph, ids: Mapping[int, str]) -> dict[str, Any]:
    """What a viewer shows first: supernodes, and pinned nodes (their members, what was pinned, the targets)."""
    supernodes = [[name, *(ids[node] for node in nodes if node in ids)] for name, nodes in graph.supernodes.items()]
    members = [member for _, *group in supernodes for member in group]
    pinned = [ids[node] for node in (*graph.pins, *graph.view.roots) if node in ids]
    return {
        "pinnedIds": list(dict.fromkeys([*members, *pinned])),
        "supernodes": supernodes,
        "linkType": "both",
        "clickedId": ids[graph.view.roots[0]],
        "sg_pos": "",
    }


def _node(graph: StoredGraph, node: NodeRecord, identity: str) -> dict[str, Any]:
    shown = graph.shown(node)
    layer, is_feature = _layer(graph, node), node.kind == "feature"
    theirs = {
        "node_id": identity,
        "feature": _feature(node),
        "layer": layer,
        "ctx_idx": node.position,
        "feature_type": _feature_type(graph, node),
        "token_prob": node.activation if node.kind == "logit" else 0.0,
        "is_target_logit": node.node == graph.view.roots[0],
        "run_idx": 0,
        "reverse_ctx_idx": 0,
        "jsNodeId": f"{layer}_{node.feature}-0" if is_feature else identity,
        "clerp": _words(shown),
        "influence": float(graph.cumulative_influence[node.node]),
        "activation": node.activation if is_feature else None,
    }
    ours: dict[str, Any] = {
        "is_target": graph.is_target(node),
        "share": node.share,
        "input_size": node.input_size,
        "node_influence": node.influence,
    }
    if is_feature:
        ours |= _of_feature(shown) | {"margin": graph.margins.get(node.node)}
    return theirs | ours


def _of_feature(shown: NodeView) -> dict[str, Any]:
    measured = shown.verdict != Verdict.UNTESTED
    return {
        "predicted_effect": shown.predicted_effect,
        "measured_effect": shown.measured_effect,
        "verdict": str(shown.verdict) if measured else None,
        "label": shown.label,
        "promoted": list(shown.promoted),
        "fires_on": list(shown.fires_on),
    }


def _feature(node: NodeRecord) -> int:
    """A feature's Cantor number, a token's position, a logit's token id, -1 of an error."""
    if node.kind == "feature":
        return cantor(node.layer, node.feature)
    return node.position if node.kind == "token" else node.feature


def _feature_type(graph: StoredGraph, node: NodeRecord) -> str:
    types = {"feature": graph.feature_type, "error": "mlp reconstruction error", "token": "embedding", "logit": "logit"}
    return types[node.kind]


def _words(shown: NodeView) -> str:
    """The label, or the tokens that a feature promotes; of a logit the form that the readers take apart."""
    if shown.kind == "logit":
        rival = f' minus "{shown.rival}"' if shown.rival else ""
        text = f'Output "{shown.text}"{rival}'.replace("(p=", "( p=")
        return f"{text} (p={shown.activation:.3f})"
    return shown.label or " ".join(token.strip() for token in shown.promoted)


def _link(edge: EdgeRecord, ids: Mapping[int, str]) -> dict[str, Any]:
    return {"source": ids[edge.source], "target": ids[edge.target], "weight": edge.share, "effect": edge.effect}
