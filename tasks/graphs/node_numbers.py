"""The numbers of any node of a stored graph, kept or not, from the graph's file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from store.graphs import NodeRecord
from tasks.graphs.raw import Floats, Ints, RawGraph


@dataclass(frozen=True)
class NodeNumbers:
    """What a row of table `node` says of a feature or an error; tokens and targets are always kept and have rows."""

    raw: RawGraph
    index: Ints
    """[feature]: its index in its dictionary."""
    activation: Floats
    """[feature]."""
    predicted_effect: Floats
    """[feature]: NaN where it is not known."""
    input_size: Floats
    """[feature]."""
    share: Floats
    """[feature or error]: nats of the decisive target that come through it, along all paths; NaN where unknown."""

    def record(self, node: int, influence: float) -> NodeRecord:
        """The row of a feature or an error."""
        raw = self.raw
        place = int(raw.layer[node]), int(raw.position[node])
        share = float(self.share[node])
        if node >= raw.first_error:
            return NodeRecord(node, "error", *place, -1, 0.0, influence, share, None, 0.0)
        effect = float(self.predicted_effect[node])
        feature, activation, size = int(self.index[node]), float(self.activation[node]), float(self.input_size[node])
        known_effect = None if np.isnan(effect) else effect
        return NodeRecord(node, "feature", *place, feature, activation, influence, share, known_effect, size)


def read_node_numbers(path: Path, raw: RawGraph) -> NodeNumbers:
    """The numbers in a graph's file; a share that the file does not hold is NaN."""
    return stored_node_numbers(load_file(path), raw)


def stored_node_numbers(arrays: Mapping[str, NDArray[Any]], raw: RawGraph) -> NodeNumbers:
    """The same, from a file's arrays that are in memory already."""
    attributed = arrays["attributed"]
    activation = arrays["active_activation"][attributed]
    share = np.full(raw.first_token, np.nan)
    share[: raw.n_features] = arrays["active_share"][attributed]
    if "leaf_share" in arrays:
        share[raw.first_error :] = arrays["leaf_share"][: raw.first_token - raw.first_error]
    return NodeNumbers(
        raw=raw,
        index=arrays["active_index"][attributed],
        activation=activation,
        predicted_effect=arrays["active_predicted_effect"][attributed],
        input_size=arrays["row_size"][: raw.n_features],
        share=share,
    )
