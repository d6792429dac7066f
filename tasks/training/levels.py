"""Reconstruction by the first features, by more of them, by all: the levels of a Matryoshka SAE; others have one.

The loss is the mean over levels of the squared error of what the level's features reconstruct, so a feature answers for
every level it is in: its gradient is that of the mean residual over those.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.training.pairs import Pairs, decode, dots
from tasks.training.weights import Weights


@dataclass(frozen=True)
class Errors:
    """The residuals x̂ - x of a batch."""

    residual: Float[Tensor, "rows m"]
    """Of all features."""
    answered: list[Float[Tensor, "rows m"]]
    """Of each stretch of features between two levels: Σ over the levels they are in of the residual / levels."""
    loss: float
    """Mean over rows and levels of the squared error."""


def reconstruct(
    x: Float[Tensor, "rows m"], pairs: Pairs, z: Float[Tensor, " pairs"], weights: Weights, ends: list[int]
) -> Errors:
    """The residuals of every level."""
    if len(ends) == 1:
        residual = decode(pairs, z, weights.W_dec).add_(weights.b_dec).sub_(x)
        return Errors(residual, [residual], _mean_square(residual))
    residuals: list[Tensor] = []
    so_far = weights.b_dec - x
    for chosen in _between(pairs, ends):
        so_far = so_far + decode(pairs.only(chosen), z[chosen], weights.W_dec)
        residuals.append(so_far)
    answered = list(residuals)
    for level in reversed(range(len(ends) - 1)):
        answered[level] = answered[level] + answered[level + 1]
    loss = sum(map(_mean_square, residuals)) / len(ends)
    return Errors(residuals[-1], [each / len(ends) for each in answered], loss)


def at_codes(errors: Errors, pairs: Pairs, weights: Weights, ends: list[int]) -> Float[Tensor, " pairs"]:
    """The gradient of the loss in the codes."""
    per_row = 2.0 / pairs.n_rows
    if len(ends) == 1:
        return dots(pairs, errors.residual, weights.W_dec).mul_(per_row)
    gradient = weights.W_dec.new_zeros(pairs.n_pairs)
    for chosen, residual in zip(_between(pairs, ends), errors.answered, strict=True):
        gradient[chosen] = dots(pairs.only(chosen), residual, weights.W_dec) * per_row
    return gradient


def _between(pairs: Pairs, ends: list[int]) -> list[Tensor]:
    """For each stretch of features between two levels: which pairs are of it."""
    return [(pairs.features >= first) & (pairs.features < last) for first, last in pairwise([0, *ends])]


def _mean_square(residual: Tensor) -> float:
    return float(torch.linalg.vector_norm(residual).square()) / len(residual)
