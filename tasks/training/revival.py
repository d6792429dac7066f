"""Aux-k: features that have died explain what the living leave over, and so come back (Gao et al. 2024, §2.4)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.training.weights import Weights

MOST_SHARE = 1 / 8
"""At most this share of the features is helped at a time, those silent for longest: it bounds the work."""


@dataclass(frozen=True)
class Revival:
    """The gradients of the dead features' own loss, at those features."""

    features: Int[Tensor, " n_dead"]
    W_enc: Float[Tensor, "n_dead m"]
    b_enc: Float[Tensor, " n_dead"]
    W_dec: Float[Tensor, "n_dead m"]
    loss: float

    def add_to(self, gradient: Float[Tensor, "some_features m"], name: str, first: int) -> None:
        """Add what falls into the features [first, first + len(gradient))."""
        here = (self.features >= first) & (self.features < first + len(gradient))
        gradient.index_add_(0, self.features[here] - first, getattr(self, name)[here])


def dead_features(silent_for: Int[Tensor, " n_features"], window: int) -> Int[Tensor, " n_dead"]:
    """Those silent for the window, rising; of too many, those that have been for longest."""
    dead = (silent_for >= window).nonzero()[:, 0]
    most = max(1, int(MOST_SHARE * len(silent_for)))
    if len(dead) > most:
        dead = dead[silent_for[dead].sort(descending=True, stable=True).indices[:most]].sort().values
    return dead


def revive(
    x: Float[Tensor, "rows m"],
    residual: Float[Tensor, "rows m"],
    weights: Weights,
    dead: Int[Tensor, " n_dead"],
    k: int,
    weight: float,
) -> Revival:
    """`weight` · the mean squared error of explaining -`residual` (x - x̂) by the k strongest dead features a row."""
    encoder, decoder = weights.W_enc[dead], weights.W_dec[dead]
    codes = (x @ encoder.T).to(x.dtype).add_(weights.b_enc[dead]).relu_()
    if len(dead) > k:
        edge = codes.topk(k, dim=1, sorted=False).values.amin(1, keepdim=True)
        codes = torch.where(codes >= edge, codes, 0.0)
    left = (codes @ decoder).to(x.dtype).add_(residual)
    per_row = 2.0 * weight / len(x)
    at_codes = (left @ decoder.T).to(x.dtype).mul_(per_row).mul_(codes > 0)
    return Revival(
        dead,
        (at_codes.T @ x).to(x.dtype),
        at_codes.sum(0),
        (codes.T @ left).to(x.dtype).mul_(per_row),
        weight * float(torch.linalg.vector_norm(left).square()) / len(x),
    )
