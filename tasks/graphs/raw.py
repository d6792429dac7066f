"""An attribution graph before pruning, as arrays: what pruning, scores and exports work on, without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from store.errors import Damaged
from store.graphs import GraphRecord

Ints = NDArray[np.integer[Any]]
Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class RawGraph:
    """Nodes [features | errors by layer·T + position | tokens | targets] and all edges between them."""

    n_layers: int
    n_positions: int
    n_features: int
    """How many features were attributed."""
    layer: Ints
    """[node]: -1 of tokens, n_layers of logits."""
    position: Ints
    """[node]: token position."""
    weight: Floats
    """[node]: where influence starts: each logit by its probability, a single target by one; zero elsewhere."""
    source: Ints
    target: Ints
    share: Floats
    """[edge]: raw and signed, in the units of the target's value."""

    @property
    def first_error(self) -> int:
        """Node of the error of layer 0 at position 0."""
        return self.n_features

    @property
    def first_token(self) -> int:
        """Node of the token at position 0."""
        return self.n_features + self.n_layers * self.n_positions

    @property
    def first_target(self) -> int:
        """Node of the first target: a logit, or a feature that is explained."""
        return self.first_token + self.n_positions

    @property
    def n_nodes(self) -> int:
        """Features, errors, tokens and targets."""
        return len(self.layer)


def read_raw_graph(record: GraphRecord, path: Path) -> RawGraph:
    """The raw graph of a stored one, from its row and its file of arrays."""
    return stored_raw_graph(record, load_file(path))


def stored_raw_graph(record: GraphRecord, arrays: Mapping[str, NDArray[Any]]) -> RawGraph:
    """The same, from a file's arrays that are in memory already; `Damaged` if row and file contradict each other."""
    attributed = arrays["attributed"]
    raw = raw_graph(
        layer=arrays["active_layer"][attributed],
        position=arrays["active_position"][attributed],
        n_layers=record.n_layers,
        n_positions=len(record.token_ids),
        targets=[(int(t.get("layer", record.n_layers)), int(t["position"])) for t in record.targets],
        probabilities=[float(t["probability"]) for t in record.targets],
        edges=(arrays["edge_source"], arrays["edge_target"], arrays["edge_share"]),
    )
    tokens = record.summary.get("tokens", record.token_ids)
    ends = (int(each.max(initial=-1)) for each in (raw.source, raw.target))
    if (
        len(tokens) != raw.n_positions
        or int(raw.position.max(initial=-1)) >= raw.n_positions
        or int(raw.layer.max(initial=-1)) > raw.n_layers
        or max(ends) >= raw.n_nodes
    ):
        fault = f"graph {record.id}: its row and its file contradict each other"
        raise Damaged(fault, "trace the prompt again, or restore the project from a copy or a pack")
    return raw


def starting_weights(probabilities: list[float]) -> list[float]:
    """Where influence starts: each target by its probability; a single one by one."""
    return [1.0] if len(probabilities) == 1 else probabilities


def raw_graph(
    *,
    layer: Ints,
    position: Ints,
    n_layers: int,
    n_positions: int,
    targets: list[tuple[int, int]],
    probabilities: list[float],
    edges: tuple[Ints, Ints, Floats],
) -> RawGraph:
    """Put the nodes together: features at `layer` and `position`, all errors and tokens, `targets` at their places."""
    every = np.arange(n_positions, dtype=np.int32)
    target_layer, target_position = np.array(targets, dtype=np.int32).reshape(-1, 2).T
    layers = [layer, np.arange(n_layers).repeat(n_positions), np.full(n_positions, -1), target_layer]
    node_layer = np.concatenate(layers).astype(np.int32)
    weight = np.zeros(len(node_layer))
    weight[len(node_layer) - len(targets) :] = starting_weights(probabilities)
    source, target, share = edges
    return RawGraph(
        n_layers=n_layers,
        n_positions=n_positions,
        n_features=len(layer),
        layer=node_layer,
        position=np.concatenate([position, np.tile(every, n_layers + 1), target_position]).astype(np.int32),
        weight=weight,
        source=source.astype(np.int32, copy=False),
        target=target.astype(np.int32, copy=False),
        share=share.astype(np.float32, copy=False),
    )
