"""A sparse autoencoder on the MLP hidden h of one layer: z = E(h), ĥ = D(z) (METHOD §6).

It reads and writes raw h: the scale that training used is folded into the weights. On disk: one safetensors file a
layer and a small configuration in its row; both are checked against each other before anything is used.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from store.errors import Damaged
from tasks.dictionaries.protocol import Site

TENSORS = ("W_enc", "b_enc", "W_dec", "b_dec")
"""The names in the file: W_enc [F, m], b_enc [F], W_dec [F, m], b_dec [m]; of a JumpReLU also threshold [F]."""
_THRESHOLD = "threshold"


@dataclass(frozen=True)
class SparseAutoencoder:
    """z = activation(h W_encᵀ + b_enc), ĥ = z W_dec + b_dec.

    The activation keeps the k largest positive ones, or those above their feature's threshold, or all positive ones.
    """

    layer: int
    W_enc: Float[Tensor, "n_features m"]
    b_enc: Float[Tensor, " n_features"]
    W_dec: Float[Tensor, "n_features m"]
    b_dec: Float[Tensor, " m"]
    k: int | None
    """The number of features kept at each token (`topk`); None of the other activations."""
    n_features: int
    reads: Site = Site.MLP_HIDDEN
    writes: Site = Site.MLP_HIDDEN
    skip: None = None
    threshold: Float[Tensor, " n_features"] | None = None
    """What a pre-activation must exceed (`jumprelu`), ≥ 0; None of the other activations."""

    @property
    def activation(self) -> Literal["topk", "jumprelu", "relu"]:
        """What keeps z sparse."""
        if self.k is not None:
            return "topk"
        return "relu" if self.threshold is None else "jumprelu"

    def pre_activation(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch n_features"]:
        """x W_encᵀ + b_enc."""
        return torch.nn.functional.linear(x.to(self.W_enc.dtype), self.W_enc, self.b_enc)

    def encode(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch n_features"]:
        """The features z ≥ 0. Differentiable on the active set."""
        pre = self.pre_activation(x)
        if self.threshold is not None:
            return torch.where(pre > self.threshold, pre, 0.0)
        positive = pre.relu()
        if self.k is None:
            return positive
        largest, chosen = positive.topk(self.k, dim=-1)
        return torch.zeros_like(positive).scatter(-1, chosen, largest)

    def decode(self, z: Float[Tensor, "*batch n_features"]) -> Float[Tensor, "*batch m"]:
        """z W_dec + b_dec."""
        return z @ self.W_dec + self.b_dec

    def read_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n m"]:
        """Rows of W_enc."""
        return self.W_enc[features]

    def read_bias(self, features: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Entries of b_enc."""
        return self.b_enc[features]

    def write_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n m"]:
        """Rows of W_dec."""
        return self.W_dec[features]

    def writes_through(
        self, features: Int[Tensor, " n"], projection: Float[Tensor, "d_out m"]
    ) -> Float[Tensor, "n d_out"]:
        """W_dec[features] @ projectionᵀ."""
        return self.W_dec[features] @ projection.T.to(self.W_dec.dtype)

    @property
    def write_bias(self) -> Float[Tensor, " m"]:
        """b_dec."""
        return self.b_dec

    def threshold_margin(self, x: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch n_features"]:
        """How far each pre-activation is above the point where its feature switches off, the others held.

        ReLU: the pre-activation itself. JumpReLU: what it is above the threshold. TopK: an active feature goes off
        where the strongest one left out (or zero) overtakes it, an inactive one comes on where it overtakes the weakest
        one kept; so active means positive.
        """
        pre = self.pre_activation(x)
        if self.threshold is not None:
            return pre - self.threshold
        if self.k is None or self.k >= self.n_features:
            return pre
        ranked = pre.topk(self.k + 1, dim=-1).values.clamp_min(0.0)
        weakest_kept, strongest_left_out = ranked[..., -2:-1], ranked[..., -1:]
        active = (pre >= weakest_kept) & (pre > 0)
        return pre - torch.where(active, strongest_left_out, weakest_kept)

    def config(self) -> dict[str, Any]:
        """What the row of this dictionary keeps, and what loading checks the file against."""
        return {
            "n_features": self.n_features,
            "d_mlp": self.b_dec.shape[0],
            "k": self.k,
            "dtype": "float32",
            "activation": self.activation,
        }

    def save(self, path: Path) -> None:
        """Write the tensors, float32."""
        names = TENSORS if self.threshold is None else (*TENSORS, _THRESHOLD)
        save_file({name: getattr(self, name).detach().float().cpu().contiguous() for name in names}, path)


def load_autoencoder(path: Path, layer: int, config: Mapping[str, Any], device: torch.device) -> SparseAutoencoder:
    """The autoencoder in `path`, which must hold just the tensors that `config` describes; else `Damaged` names it."""
    n_features, d_mlp = int(config["n_features"]), int(config["d_mlp"])
    expected = {"W_enc": [n_features, d_mlp], "b_enc": [n_features], "W_dec": [n_features, d_mlp], "b_dec": [d_mlp]}
    if config.get("activation") == "jumprelu":
        expected[_THRESHOLD] = [n_features]
    mend = "restore it from a copy or a pack, or train it again"
    try:
        with safe_open(path, framework="pt") as file:
            held = set(file.keys())
            for name in sorted(held | expected.keys()):
                header = file.get_slice(name) if name in held and name in expected else None
                if header is None or header.get_shape() != expected[name] or header.get_dtype() != "F32":
                    raise Damaged(f"{path.name} does not hold {name} as float32 {expected.get(name, 'at all')}", mend)
            tensors = {name: file.get_tensor(name).to(device) for name in expected}
    except (OSError, SafetensorError) as error:
        raise Damaged(f"{path.name} is not a readable safetensors file", mend) from error
    k = config["k"]
    return SparseAutoencoder(layer=layer, k=None if k is None else int(k), n_features=n_features, **tensors)
