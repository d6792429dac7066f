"""Neurons as a dictionary: the identity on h. Works on any model with no training; the baseline every SAE must beat."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.dictionaries.protocol import Site


@dataclass(frozen=True)
class Neurons:
    """The MLP hidden of one layer, each coordinate a feature. All are active everywhere, without a threshold."""

    layer: int
    n_features: int
    device: torch.device
    reads: Site = Site.MLP_HIDDEN
    writes: Site = Site.MLP_HIDDEN
    skip: None = None

    def pre_activation(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
        """h itself."""
        return x

    def encode(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
        """h itself."""
        return x

    def decode(self, z: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
        """h itself: nothing is lost."""
        return z

    def read_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n m"]:
        """One-hot rows."""
        rows = torch.zeros(len(features), self.n_features, device=self.device)
        rows[torch.arange(len(features), device=self.device), features] = 1.0
        return rows

    def read_bias(self, features: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Zero: h has no constant of its own."""
        return torch.zeros(len(features), device=self.device)

    def write_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n m"]:
        """One-hot rows."""
        return self.read_vectors(features)

    def writes_through(
        self, features: Int[Tensor, " n"], projection: Float[Tensor, "d_out m"]
    ) -> Float[Tensor, "n d_out"]:
        """The projection's own columns."""
        return projection.T[features]

    @property
    def write_bias(self) -> Float[Tensor, " m"]:
        """Zero."""
        return torch.zeros(self.n_features, device=self.device)

    def threshold_margin(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch m"]:
        """Infinite: a neuron never switches off."""
        return torch.full_like(x, torch.inf)
