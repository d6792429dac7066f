"""What attribution, interventions and interpretation know of a dictionary, whatever its kind (DESIGN §4).

A dictionary encodes what it reads at one layer into sparse features z and writes z back. Neurons are the identity, SAEs
read and write the MLP hidden h, transcoders read the MLP's normed input u and write the MLP's output. The users of this
protocol ask *where* it reads and writes (`Site`), never what kind it is.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor


class Site(StrEnum):
    """A place in an MLP block: u = norm(m), h = act(W_gate u) * (W_up u), out = W_down h (METHOD, notation)."""

    MLP_INPUT = "mlp_input"
    """u in R^d: after the norm, before the gate."""
    MLP_HIDDEN = "mlp_hidden"
    """h in R^m: the input of down_proj."""
    MLP_OUTPUT = "mlp_output"
    """W_down h in R^d: before a sandwich norm, where the family has one."""


@runtime_checkable
class Dictionary(Protocol):
    """Features of one layer. Tensors live on the model's device, in float32 unless the set was loaded otherwise."""

    @property
    def layer(self) -> int:
        """The decoder layer."""

    @property
    def n_features(self) -> int:
        """How many features there are."""

    @property
    def reads(self) -> Site:
        """Where its input is."""

    @property
    def writes(self) -> Site:
        """Where its output goes."""

    @property
    def skip(self) -> Float[Tensor, "d_write d_read"] | None:
        """A linear path from what is read to what is written, beside the features (METHOD §2, `W_skip`); often none."""

    def pre_activation(self, x: Float[Tensor, "*batch d_read"]) -> Float[Tensor, "*batch n_features"]:
        """read_vectors · x + read_bias: what a feature target is, before its nonlinearity. Differentiable."""

    def encode(self, x: Float[Tensor, "*batch d_read"]) -> Float[Tensor, "*batch n_features"]:
        """The features z: zero where inactive. Differentiable on the active set."""

    def decode(self, z: Float[Tensor, "*batch n_features"]) -> Float[Tensor, "*batch d_write"]:
        """What the dictionary writes for z: z · write vectors + write bias."""

    def read_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d_read"]:
        """The directions that the pre-activations of `features` read."""

    def read_bias(self, features: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The constants in the pre-activations of `features`."""

    def write_vectors(self, features: Int[Tensor, " n"]) -> Float[Tensor, "n d_write"]:
        """The directions that `features` write, for z = 1."""

    def writes_through(
        self, features: Int[Tensor, " n"], projection: Float[Tensor, "d_out d_write"]
    ) -> Float[Tensor, "n d_out"]:
        """write_vectors(features) @ projection.T, without ever building an identity for neurons."""

    @property
    def write_bias(self) -> Float[Tensor, " d_write"]:
        """What is written for z = 0."""

    def threshold_margin(self, x: Float[Tensor, "*batch d_read"]) -> Float[Tensor, "*batch n_features"]:
        """Distance of each pre-activation above the point where the feature switches off (negative: inactive)."""
