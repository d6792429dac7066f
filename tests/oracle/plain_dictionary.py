"""Dictionaries as matrices, float64, and the workbench's own objects made of the same numbers."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tasks.dictionaries.dictionary_set import DictionarySet
from tasks.dictionaries.neurons import Neurons
from tasks.dictionaries.protocol import Dictionary, Site
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.model.language_model import LanguageModel


@dataclass(frozen=True)
class PlainDictionary:
    """z = activation(W_enc read + b_enc); what is written for z is z W_dec + b_dec."""

    W_enc: Tensor
    b_enc: Tensor
    W_dec: Tensor
    b_dec: Tensor
    on_hidden: bool
    """Reads and writes h; else reads u and writes the MLP's output."""
    identity: bool = False
    """No nonlinearity: neurons."""
    k: int | None = None
    skip: Tensor | None = None

    def pre_activation(self, read: Tensor) -> Tensor:
        return read @ self.W_enc.T + self.b_enc

    def encode(self, read: Tensor) -> Tensor:
        pre = self.pre_activation(read)
        if self.identity:
            return pre
        if self.k is None:
            return pre.relu()
        threshold = pre.sort(-1, descending=True).values[..., self.k - 1 : self.k]
        largest = torch.where(pre >= threshold, pre, 0.0)
        return largest.relu() if self.on_hidden else largest

    def decode(self, z: Tensor) -> Tensor:
        return z @ self.W_dec + self.b_dec

    def bypass(self, read: Tensor) -> Tensor | float:
        return 0.0 if self.skip is None else read @ self.skip.T


@dataclass(frozen=True)
class Transcoder:
    """The third kind of dictionary, as the protocol has it: reads u, writes the MLP's output."""

    layer: int
    W_enc: Float[Tensor, "n_features d"]
    b_enc: Float[Tensor, " n_features"]
    W_dec: Float[Tensor, "n_features d"]
    b_dec: Float[Tensor, " d"]
    k: int | None = None
    skip: Float[Tensor, "d d"] | None = None
    reads: Site = Site.MLP_INPUT
    writes: Site = Site.MLP_OUTPUT

    @property
    def n_features(self) -> int:
        return len(self.W_enc)

    def pre_activation(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        return x @ self.W_enc.T + self.b_enc

    def encode(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        pre = self.pre_activation(x)
        if self.k is None:
            return pre.relu()
        largest = pre.topk(self.k, dim=-1)
        return torch.zeros_like(pre).scatter(-1, largest.indices, largest.values)

    def decode(self, z: Float[Tensor, "*batch n_features"]) -> Float[Tensor, "*batch d"]:
        return z @ self.W_dec + self.b_dec

    def read_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        return self.W_enc[features]

    def read_bias(self, features: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        return self.b_enc[features]

    def write_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        return self.W_dec[features]

    def writes_through(
        self, features: Int[Tensor, " n"], projection: Float[Tensor, "d_out d"]
    ) -> Float[Tensor, "n d_out"]:
        return self.W_dec[features] @ projection.T

    @property
    def write_bias(self) -> Float[Tensor, " d"]:
        return self.b_dec

    def threshold_margin(self, x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch n_features"]:
        return self.pre_activation(x)


KINDS = ("neurons", "sae", "transcoder", "skip")
"""Neurons in every layer; TopK and ReLU SAEs in some; transcoders in all, without and with a linear bypass."""
Layers = dict[int, PlainDictionary]


def plain_set(kind: str, model: LanguageModel) -> Layers:
    """Seeded dictionaries of one kind. Layer 1 has none where the kind is `sae`: it is passed through."""
    generator = torch.Generator().manual_seed(7)

    def draw(*shape: int, scale: float = 1.0) -> Tensor:
        return (torch.randn(*shape, generator=generator) * scale).double()

    d, m, n = model.d_model, model.d_mlp, 40
    layers: Layers = {}
    for layer in range(model.n_layers):
        if kind == "neurons":
            layers[layer] = PlainDictionary(
                torch.eye(m).double(), draw(m, scale=0), torch.eye(m).double(), draw(m, scale=0), True, identity=True
            )
        elif kind == "sae" and layer != 1:
            layers[layer] = PlainDictionary(
                draw(n, m, scale=m**-0.5), draw(n, scale=0.2), draw(n, m, scale=n**-0.5), draw(m, scale=0.2),
                True, k=6 if layer == 0 else None,
            )  # fmt: skip
        elif kind in ("transcoder", "skip"):
            layers[layer] = PlainDictionary(
                draw(n, d, scale=d**-0.5), draw(n, scale=0.2), draw(n, d, scale=n**-0.5), draw(d, scale=0.2),
                False, k=6 if layer == 0 else None, skip=draw(d, d, scale=0.5 * d**-0.5) if kind == "skip" else None,
            )  # fmt: skip
    return layers


def dictionary_set(kind: str, plain: Layers) -> DictionarySet:
    """The workbench's dictionaries with the same numbers, float32."""
    return DictionarySet(kind, {layer: _dictionary(layer, each) for layer, each in plain.items()})


def _dictionary(layer: int, plain: PlainDictionary) -> Dictionary:
    n_features, width = plain.W_enc.shape
    if plain.identity:
        return Neurons(layer, width, torch.device("cpu"))
    W_enc, b_enc, W_dec, b_dec = (each.float() for each in (plain.W_enc, plain.b_enc, plain.W_dec, plain.b_dec))
    if plain.on_hidden:
        return SparseAutoencoder(layer, W_enc, b_enc, W_dec, b_dec, plain.k, n_features)
    skip = None if plain.skip is None else plain.skip.float()
    return Transcoder(layer, W_enc, b_enc, W_dec, b_dec, plain.k, skip)
