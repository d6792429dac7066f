"""What a graph's file says of every active feature, kept or not: its activation, and what the target would lose."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open

from store.graphs import NodeRecord
from tasks.graphs.feature_name import FeatureName
from tasks.graphs.raw import Floats, Ints

_ARRAYS = ("layer", "position", "index", "activation", "predicted_effect")


@dataclass(frozen=True, eq=False)
class ActiveEffects:
    """Arrays over active features. An effect is z · ∂target/∂z in the real model, NaN where it is not known."""

    layer: Ints
    position: Ints
    index: Ints
    activation: Floats
    effect: Floats
    is_whole: bool = True
    """Whether every active feature is here, so that one that is not here is worth nothing."""

    def named(self, names: Iterable[FeatureName], n_positions: int) -> NDArray[np.bool_]:
        """Which of them the names mean, in a prompt of `n_positions`."""
        found = np.zeros(len(self.layer), dtype=bool)
        for name in names:
            here = np.isin(self.layer, name.layers)
            if name.feature is not None:
                here &= self.index == name.feature
            if name.positions is not None:
                here &= np.isin(self.position, [at % n_positions for at in name.positions])
            found |= here
        return found

    def lost(self, chosen: NDArray[np.bool_]) -> float | None:
        """What the target would lose without the chosen ones, to first order; None if that is not known."""
        effects = self.effect[chosen]
        if np.isnan(effects).any() or not (self.is_whole or len(effects)):
            return None
        return float(effects.sum(dtype=np.float64))

    def slopes(self, chosen: NDArray[np.bool_]) -> Floats | None:
        """∂target/∂z of the chosen ones; None if one is not known."""
        effects, activations = self.effect[chosen], self.activation[chosen]
        if np.isnan(effects).any() or (activations == 0).any():
            return None
        return np.asarray(effects / activations, dtype=effects.dtype)


def read_active_effects(path: Path) -> ActiveEffects | None:
    """Those of a graph's file; None for a file of another program, which does not have them."""
    with safe_open(path, framework="numpy") as file:
        if any(f"active_{name}" not in file.keys() for name in _ARRAYS):  # noqa: SIM118  # not a dict
            return None
        return ActiveEffects(*(file.get_tensor(f"active_{name}") for name in _ARRAYS))


def effects_of_nodes(nodes: Collection[NodeRecord]) -> ActiveEffects:
    """Those of kept nodes alone."""
    return ActiveEffects(
        layer=np.array([node.layer for node in nodes], int),
        position=np.array([node.position for node in nodes], int),
        index=np.array([node.feature for node in nodes], int),
        activation=np.array([node.activation for node in nodes], float),
        effect=np.array([np.nan if node.predicted_effect is None else node.predicted_effect for node in nodes], float),
        is_whole=False,
    )
