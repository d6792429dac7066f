"""Transcoders: features that read the MLP's normed input u and write its output.

Published sets are large (163 840 features a layer for Qwen3-4B), so weights stay mapped from disk in the type they were
published in: encoding streams W_enc through the model's device in blocks of rows, and of W_dec only the rows of active
features are ever read.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from store.errors import Damaged
from tasks.dictionaries.protocol import Site

BLOCK_ROWS = 1024
"""Rows of W_enc in float32 at once: small enough to stay in a processor's cache (10 MB for Qwen3-4B)."""
MEND_SET = "get the set again from where it was published"
"""What to do about weights that are not what was published."""


@dataclass(frozen=True)
class Transcoder:
    """z = activation(u W_encᵀ + b_enc), output = z W_dec + b_dec (+ u W_skipᵀ), as circuit-tracer computes it."""

    layer: int
    W_enc: Float[Tensor, "n_features d"]
    W_dec: Float[Tensor, "n_features d"]
    b_enc: Float[Tensor, " n_features"]
    b_dec: Float[Tensor, " d"]
    W_skip: Float[Tensor, "d d"] | None
    k: int | None
    """TopK, where the set says so: the k largest pre-activations, whatever their sign (circuit-tracer's)."""
    threshold: Float[Tensor, " n_features"] | None
    """JumpReLU, where the set has one; ReLU where it has neither."""
    device: torch.device
    reads: Site = Site.MLP_INPUT
    writes: Site = Site.MLP_OUTPUT

    @property
    def n_features(self) -> int:
        """Rows of W_enc."""
        return int(self.W_enc.shape[0])

    @property
    def skip(self) -> Float[Tensor, "d d"] | None:
        """W_skip: what is read passes through it to what is written."""
        return None if self.W_skip is None else self._here(self.W_skip)

    def pre_activation(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        """u W_encᵀ + b_enc, a block of features at a time. `Damaged` if a finite u gives no finite number."""
        x = x.float()
        pre = x.new_empty(*x.shape[:-1], self.n_features)
        for first in range(0, self.n_features, BLOCK_ROWS):
            rows = slice(first, first + BLOCK_ROWS)
            # Under autograd a block is converted again in the backward pass: keeping all would be a float32 W_enc.
            pre[..., rows] = checkpoint(self._block, x, rows, use_reentrant=False) if _live(x) else self._block(x, rows)
        self._refuse_broken(pre, "W_enc", x)
        return pre

    def encode(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        """The features z. Differentiable on the active set, of which alone rows are kept for the backward pass."""
        with torch.no_grad():
            z = self._activated(self.pre_activation(x))
        if not _live(x):
            return z
        active = _active(z)
        chosen = z[..., active]
        pre = x.float() @ self.read_vectors(active).T + self.read_bias(active)
        return z.index_copy(-1, active, torch.where(chosen != 0, pre, chosen))

    def decode(self, z: Float[Tensor, "*batch n_features"]) -> Float[Tensor, "*batch d"]:
        """z W_dec + b_dec, reading the rows of active features alone."""
        active = _active(z)
        return z[..., active] @ self.write_vectors(active) + self.write_bias

    def read_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Rows of W_enc."""
        return self._here(self.W_enc[features.cpu()])

    def read_bias(self, features: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Entries of b_enc."""
        return self._here(self.b_enc[features.cpu()])

    def write_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """Rows of W_dec. `Damaged` if one is not finite."""
        rows = self._here(self.W_dec[features.cpu()])
        self._refuse_broken(rows, "W_dec")
        return rows

    def writes_through(
        self, features: Int[Tensor, " n"], projection: Float[Tensor, "d_out d"]
    ) -> Float[Tensor, "n d_out"]:
        """W_dec[features] @ projectionᵀ."""
        return self.write_vectors(features) @ projection.T

    @property
    def write_bias(self) -> Float[Tensor, " d"]:
        """b_dec."""
        return self._here(self.b_dec)

    def threshold_margin(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        """How far each pre-activation is above the point where its feature switches off, the others held."""
        pre = self.pre_activation(x)
        if self.threshold is not None:
            return pre - self._here(self.threshold)
        if self.k is None or self.k >= self.n_features:
            return pre
        ranked = pre.topk(self.k + 1, dim=-1).values
        weakest_kept, strongest_left_out = ranked[..., -2:-1], ranked[..., -1:]
        return pre - torch.where(pre >= weakest_kept, strongest_left_out, weakest_kept)

    def _block(self, x: Tensor, rows: slice) -> Tensor:
        weight = self._here(self.W_enc[rows])
        product = (weight @ x.reshape(-1, x.shape[-1]).T).T  # a third less time than x Wᵀ for the rows of a prompt
        return product.reshape(*x.shape[:-1], -1) + self._here(self.b_enc[rows])

    def _activated(self, pre: Tensor) -> Tensor:
        if self.k is not None:
            largest, chosen = pre.topk(self.k, dim=-1)
            return torch.zeros_like(pre).scatter(-1, chosen, largest)
        if self.threshold is not None:
            return pre * (pre > self._here(self.threshold))
        return pre.relu()

    def _refuse_broken(self, values: Tensor, weight: str, given: Tensor | None = None) -> None:
        """`Damaged` where values made of `weight` (and of `given`, which is finite) are not finite."""
        whole = bool(values.sum().isfinite()) or bool(values.isfinite().all())  # a sum can overflow
        if not whole and (given is None or bool(given.isfinite().all())):
            raise Damaged(f"{weight} of layer {self.layer} of the transcoder set holds NaN or infinity", MEND_SET)

    def _here(self, weights: Tensor) -> Tensor:
        """On the model's device, float32."""
        return weights.to(self.device, torch.float32)


def _live(x: Tensor) -> bool:
    """Whether a backward pass may come."""
    return torch.is_grad_enabled() and x.requires_grad


def _active(z: Tensor) -> Tensor:
    """Indices of the features that are not zero everywhere in the batch."""
    return z.detach().reshape(-1, z.shape[-1]).any(0).nonzero().squeeze(1)
