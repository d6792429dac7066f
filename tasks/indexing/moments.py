"""Counts, sums of powers and a histogram of every feature's activations: what adds up over a text."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

HISTOGRAM_BINS = 20
"""One bin an octave: bin b counts activations in [2^(b-10), 2^(b-9)); the first and the last take what lies beyond."""
_LOWEST_OCTAVE = -10
_MANTISSA_BITS, _EXPONENT_BIAS = 23, 127
_POWERS = 4


@dataclass(frozen=True)
class Moments:
    """Of one feature's activations where they are not zero; of a neuron that is everywhere."""

    mean: float
    standard_deviation: float
    skewness: float
    """Third central moment over the cube of the standard deviation; 0 where that is 0."""
    kurtosis: float
    """Fourth central moment over the fourth power of the standard deviation (3 of a Gaussian); 0 where that is 0."""


@dataclass
class Totals:
    """What adds up. 200 bytes a feature."""

    counts: Int[Tensor, " n_features"]
    """Tokens on which it is not zero."""
    powers: Float[Tensor, "power n_features"]
    """Sums of the activation, its square, cube and fourth power, float64."""
    histogram: Int[Tensor, "n_features bins"]
    """Of activations above zero."""

    @classmethod
    def empty(cls, n_features: int, device: torch.device) -> "Totals":
        """Nothing seen yet."""
        return cls(
            torch.zeros(n_features, dtype=torch.int64, device=device),
            torch.zeros(_POWERS, n_features, dtype=torch.float64, device=device),
            torch.zeros(n_features, HISTOGRAM_BINS, dtype=torch.int64, device=device),
        )

    def add(self, features: Int[Tensor, " active"], values: Float[Tensor, " active"]) -> None:
        """Count in the activations that are not zero."""
        n_features = len(self.counts)
        self.counts += torch.bincount(features, minlength=n_features)
        power = exact = values.double()
        for sums in self.powers:
            sums.add_(torch.bincount(features, weights=power, minlength=n_features))
            power = power * exact
        octave = (values.view(torch.int32) >> _MANTISSA_BITS).long() - (_EXPONENT_BIAS + _LOWEST_OCTAVE)
        bins = features * HISTOGRAM_BINS + octave.clamp_(0, HISTOGRAM_BINS - 1)
        above = bins if bool((values > 0).all()) else bins[values > 0]
        self.histogram.view(-1).add_(torch.bincount(above, minlength=self.histogram.numel()))

    def merge(self, other: "Totals") -> None:
        """Take in those of another part of the text."""
        self.counts += other.counts
        self.powers += other.powers
        self.histogram += other.histogram

    def moments(self) -> Float[Tensor, "n_features 4"]:
        """Mean, standard deviation, skewness and kurtosis of every feature, the fields of `Moments` in order."""
        n = self.counts.clamp_min(1)
        mean, square, cube, fourth = self.powers / n
        variance = (square - mean**2).clamp_min(0)
        spread = variance > 1e-12 * square
        deviation = torch.where(spread, variance, 0).sqrt()
        safe = torch.where(spread, deviation, 1)
        third_central = cube - 3 * mean * square + 2 * mean**3
        fourth_central = fourth - 4 * mean * cube + 6 * mean**2 * square - 3 * mean**4
        skewness = torch.where(spread, third_central / safe**3, 0)
        kurtosis = torch.where(spread, fourth_central / safe**4, 0)
        return torch.stack([mean, deviation, skewness, kurtosis], dim=1)

    def tensors(self) -> dict[str, Tensor]:
        """All there is to write down."""
        return {"counts": self.counts, "powers": self.powers, "histogram": self.histogram}
