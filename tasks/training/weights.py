"""The trained tensors of one SAE, how they start, and how Adam moves them (METHOD §6)."""

import math
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass
class Weights:
    """In the units of training: x = scale · h with E‖x‖² = m."""

    W_enc: Float[Tensor, "n_features m"]
    b_enc: Float[Tensor, " n_features"]
    W_dec: Float[Tensor, "n_features m"]
    b_dec: Float[Tensor, " m"]
    more: dict[str, Float[Tensor, " n_features"]] = field(default_factory=dict)
    """What the objective trains beside these: thresholds, gains."""

    def named(self) -> dict[str, Tensor]:
        """Name -> tensor, in a fixed order."""
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec} | self.more

    @classmethod
    def random(cls, n_features: int, width: int, seed: int, device: torch.device) -> "Weights":
        """Unit decoder rows in random directions, the encoder along them, no biases."""
        generator = torch.Generator().manual_seed(seed)
        decoder = torch.randn(n_features, width, generator=generator).to(device)
        decoder /= decoder.norm(dim=1, keepdim=True)
        return cls(decoder.clone(), decoder.new_zeros(n_features), decoder, decoder.new_zeros(width))


@dataclass
class Moments:
    """Adam's averages of one tensor's gradient and of its square."""

    mean: Tensor
    square: Tensor

    @classmethod
    def of(cls, weight: Tensor) -> "Moments":
        """Before the first step."""
        return cls(torch.zeros_like(weight), torch.zeros_like(weight))


@dataclass
class Adam:
    """Adam over stretches of tensors: a gradient is used up as soon as it is known, and never held whole."""

    moments: dict[str, Moments]
    steps: int = 0
    rate: float = 0.0

    @classmethod
    def over(cls, weights: Weights) -> "Adam":
        """Before the first step."""
        return cls({name: Moments.of(weight) for name, weight in weights.named().items()})

    def begin(self, rate: float) -> None:
        """Start a step of that learning rate, in which every stretch of every tensor is moved once."""
        self.steps += 1
        self.rate = rate

    def move(
        self, name: str, weight: Tensor, gradient: Tensor, rows: slice = slice(None), pace: float = 1.0,
        memory: float = BETAS[1],
    ) -> None:  # fmt: skip
        """Move `weight`, which is the stretch `rows` of the tensor of that name, at `pace` times the learning rate.

        `memory` is the decay of the average of squared gradients (β₂).
        """
        held = self.moments[name]
        adam(
            [weight], [gradient], [held.mean[rows]], [held.square[rows]], [],
            [torch.tensor(float(self.steps - 1), device=weight.device)],
            fused=True, amsgrad=False, beta1=BETAS[0], beta2=memory, lr=pace * self.rate, weight_decay=0.0,
            eps=_EPSILON, maximize=False,
        )  # fmt: skip


def fitting_scale(h: Float[Tensor, "rows m"]) -> float:
    """s with E‖s h‖² = m."""
    return math.sqrt(h.shape[1] / float(h.square().sum(1).mean()))
