"""What decides the outcome of one layer's training, beside its rows (METHOD §6).

Everything that depends on how far the run is counts in shares of the run, so that short and long runs are alike.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

Objective = Literal["topk", "batchtopk", "matryoshka", "jumprelu", "gated", "l1"]
OBJECTIVES: tuple[Objective, ...] = get_args(Objective)
"""Every objective."""
Precision = Literal["float32", "bfloat16"]
POINTS = 50
"""Training points a run."""
_FIRST_RATE = 0.05
_COEFFICIENT_WARM_UP = 0.2
"""Share of the run over which the weight of a sparsity penalty rises."""


@dataclass(frozen=True)
class TrainingPlan:
    """The options of one layer's training. Shares are of the run."""

    n_features: int
    k: int
    """Features a token: kept (`topk`), kept on average (`batchtopk`, `matryoshka`), aimed at (`jumprelu`)."""
    batch_size: int
    learning_rate: float
    seed: int
    total_rows: int
    """Rows of the whole run, epochs counted."""
    objective: Objective = "topk"
    l1_coefficient: float = 3.0
    """λ of `l1` and `gated`, with x scaled to E‖x‖² = m."""
    l0_coefficient: float = 1.0
    """λ of `jumprelu`'s penalty (L0 / k - 1)², in units of m."""
    bandwidth: float = 0.5
    """Width of `jumprelu`'s straight-through kernel, in units of x."""
    threshold_pace: float = 10.0
    """Learning rate of `jumprelu`'s log θ, in learning rates: a short run must be able to move it far."""
    warm_up: float = 0.05
    """Share over which the learning rate rises."""
    decay: float = 0.4
    """Share, at the end, over which the learning rate falls to zero."""
    dead_window_share: float = 0.1
    """A feature is dead if it was active on no token of the last such share."""
    revival_weight: float = 1 / 32
    """Of the loss that lets dead features explain what is left (aux-k); 0 for none."""
    unit_decoder: bool = True
    """Decoder rows are kept on the unit sphere, and their gradient tangent to it."""
    levels: tuple[float, ...] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
    """`matryoshka`: the shares of the features that must each reconstruct alone."""
    precision: Precision = "float32"
    """bfloat16: the encoder's product, dense products and those of revival; weights, sums by pairs and Adam stay
    float32."""

    @property
    def dead_window(self) -> int:
        """Tokens without an activation after which a feature counts as dead."""
        return math.ceil(self.dead_window_share * self.total_rows)

    @property
    def level_ends(self) -> list[int]:
        """Numbers of features that reconstruct together, rising; the last is all of them."""
        if self.objective != "matryoshka":
            return [self.n_features]
        ends = {min(self.n_features, max(1, round(share * self.n_features))) for share in self.levels}
        return sorted(ends | {self.n_features})

    def learning_rate_at(self, share: float) -> float:
        """The learning rate after `share` of the run."""
        rise = min(1.0, share / self.warm_up + _FIRST_RATE) if self.warm_up else 1.0
        fall = min(1.0, max(0.0, (1.0 - share) / self.decay)) if self.decay else 1.0
        return self.learning_rate * rise * fall

    def penalty_at(self, share: float) -> float:
        """The weight of the sparsity penalty after `share` of the run, as a part of its height."""
        return min(1.0, share / _COEFFICIENT_WARM_UP)
