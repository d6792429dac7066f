"""What an SAE is trained to do: a TopK or an L1 objective, and a second chance for dead features (METHOD §6).

TopK never builds the gradient of a dense [tokens, features] matrix: the decoder is a weighted sum of k rows a token
(`embedding_bag`), and the encoder's weight gradient is the same sum over each feature's tokens, sorted by feature.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Weights:
    """The trained tensors of one SAE, in the scaled units of training."""

    W_enc: Float[Tensor, "n_features m"]
    b_enc: Float[Tensor, " n_features"]
    W_dec: Float[Tensor, "n_features m"]
    b_dec: Float[Tensor, " m"]

    def named(self) -> dict[str, Tensor]:
        """Name -> tensor, in a fixed order."""
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}


@dataclass(frozen=True)
class Reconstruction:
    """What one batch came to: x̂, the codes as (values, features) a token, and the penalty that goes with them."""

    x_hat: Float[Tensor, "rows m"]
    values: Float[Tensor, "rows k"]
    """Codes: of the k kept features a token (`topk`), or of all features in order (`l1`)."""
    features: Int[Tensor, "rows k"] | None
    """The features of `values`; None where all are there in order."""
    penalty: Float[Tensor, ""]
    """λ · mean ‖z‖₁ ‖decoder row‖ for `l1`; 0 for `topk`."""

    @torch.no_grad()
    def fired(self, n_features: int) -> Int[Tensor, " n_features"]:
        """How many tokens each feature is active on."""
        if self.features is None:
            return (self.values > 0).sum(0)
        return torch.bincount(self.features[self.values > 0], minlength=n_features)


class _EncodeTopK(torch.autograd.Function):
    """relu of the k largest pre-activations of each row, with their features."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w_enc: Tensor, b_enc: Tensor, k: int) -> tuple[Tensor, Tensor]:
        values, features = torch.addmm(b_enc, x, w_enc.T).topk(k, dim=1, sorted=False)
        values = values.relu_()
        ctx.save_for_backward(x, values, features)
        ctx.n_features = len(b_enc)
        ctx.mark_non_differentiable(features)
        return values, features

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _none: Tensor) -> tuple[None, Tensor, Tensor, None]:
        x, values, features = ctx.saved_tensors
        gradient = gradient * (values > 0)
        return None, *sum_by_feature(x, gradient, features, ctx.n_features), None


def sum_by_feature(
    x: Float[Tensor, "rows m"], weights: Float[Tensor, "rows k"], features: Int[Tensor, "rows k"], n_features: int
) -> tuple[Float[Tensor, "n_features m"], Float[Tensor, " n_features"]]:
    """Σ weights·x over the rows that chose each feature, and Σ weights: Cᵀx for the sparse C [rows, n_features]."""
    flat = features.reshape(-1)
    order = flat.argsort(stable=True)
    counts = torch.bincount(flat, minlength=n_features)
    rows = torch.div(order, features.shape[1], rounding_mode="floor")
    sorted_weights = weights.reshape(-1)[order]
    summed = functional.embedding_bag(rows, x, counts.cumsum(0) - counts, per_sample_weights=sorted_weights, mode="sum")
    return summed, torch.zeros(n_features, dtype=x.dtype, device=x.device).index_add_(0, flat[order], sorted_weights)


def reconstruct_topk(x: Float[Tensor, "rows m"], weights: Weights, k: int) -> Reconstruction:
    """x̂ from the k largest features of each row."""
    values, features = _EncodeTopK.apply(x, weights.W_enc, weights.b_enc, k)  # type: ignore[no-untyped-call]
    x_hat = functional.embedding_bag(features, weights.W_dec, per_sample_weights=values, mode="sum") + weights.b_dec
    return Reconstruction(x_hat, values, features, penalty=x.new_zeros(()))


def reconstruct_l1(x: Float[Tensor, "rows m"], weights: Weights, coefficient: float) -> Reconstruction:
    """x̂ from every positive feature, and λ · mean over rows of Σ z‖decoder row‖ (‖z‖₁ with norms folded in)."""
    z = torch.addmm(weights.b_enc, x, weights.W_enc.T).relu()
    penalty = coefficient * (z @ weights.W_dec.norm(dim=1)).mean()
    return Reconstruction(z @ weights.W_dec + weights.b_dec, z, None, penalty)


def revival_loss(
    x: Float[Tensor, "rows m"],
    residual: Float[Tensor, "rows m"],
    weights: Weights,
    dead: Int[Tensor, " n_dead"],
    k: int,
) -> Float[Tensor, ""]:
    """Aux-k: mean squared error of explaining the detached `residual` by the k strongest dead features of each row."""
    pre = torch.addmm(weights.b_enc[dead], x, weights.W_enc[dead].T).relu()
    strongest, chosen = pre.topk(min(k, len(dead)), dim=1)
    explained = torch.zeros_like(pre).scatter(1, chosen, strongest) @ weights.W_dec[dead]
    return (residual - explained).square().sum(1).mean()
