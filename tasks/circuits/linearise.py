"""A gated neuron h = act(g)·p as a linear function of g and p that closes: h = c_g·g + c_u·p (METHOD §2, SHARE).

Every rule is a choice of one ratio r, with c_g = r·p and c_u = act(g) - r·g, so that each closes by construction:
`ray` splits along the straight line from zero (Gauss-Legendre, 16 points), `half` in equal parts, `frozen-gate` gives
everything to p.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Activation = Callable[[Tensor], Tensor]

SMALL_GATE = 1e-12
"""Below this |g| the ratio's limit at zero, act'(0)/2, stands for 0/0. Above it the quotient keeps its digits: act(g)
and S are g times something near act'(0) and its half, so nothing cancels."""


class Rule(StrEnum):
    """How a product of two functions of u is shared between them."""

    RAY = "ray"
    HALF = "half"
    FROZEN_GATE = "frozen-gate"


@dataclass(frozen=True)
class LinearNeurons:
    """The coefficients of one layer's neurons at each position: h = of_gate·g + of_up·p."""

    of_gate: Float[Tensor, "pos m"]
    of_up: Float[Tensor, "pos m"]


def linearise(
    gate: Float[Tensor, "pos m"], up: Float[Tensor, "pos m"], activation: Activation, rule: Rule
) -> LinearNeurons:
    """The coefficients c_g and c_u of every neuron under `rule`."""
    ratio = torch.zeros_like(gate) if rule is Rule.FROZEN_GATE else _ratio(gate, activation, rule)
    return LinearNeurons(of_gate=ratio * up, of_up=activation(gate) - ratio * gate)


def _ratio(gate: Tensor, activation: Activation, rule: Rule) -> Tensor:
    of_up = activation(gate) / 2 if rule is Rule.HALF else _mean_along_ray(gate, activation)
    step = torch.full_like(gate, SMALL_GATE)
    slope_at_zero = (activation(step) - activation(-step)) / (2 * SMALL_GATE)
    small = gate.abs() < SMALL_GATE
    return torch.where(small, slope_at_zero / 2, (activation(gate) - of_up) / torch.where(small, step, gate))


def _mean_along_ray(gate: Tensor, activation: Activation) -> Tensor:
    """S = integral of act(a·g) over a in [0, 1]."""
    points, weights = np.polynomial.legendre.leggauss(16)
    total = torch.zeros_like(gate)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        total += float(weight) * activation(float(point) * gate)
    return total
