"""The points of a training curve: what a row of table `training_point` holds, and what it is summed up from."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.dictionaries.sae import SparseAutoencoder


@dataclass(frozen=True)
class TrainingPoint:
    """One point of the curves."""

    tokens: int
    split: Literal["train", "validation"]
    loss: float
    """(what is minimised) / m, x scaled so that E‖x‖² = m; on validation the squared error alone."""
    fvu: float
    l0: float
    dead_share: float
    ce_recovered: float | None = None
    """On validation, at some points: against zero ablation, this layer alone."""


@dataclass
class Interval:
    """Sums since the last training point."""

    rows: int = 0
    loss: float = 0.0
    error: float = 0.0
    variance: float = 0.0
    active: float = 0.0

    def add(self, rows: int, loss: float, error: float, variance: float, active: int) -> None:
        """Count a batch in."""
        self.rows += rows
        self.loss += loss
        self.error += error
        self.variance += variance
        self.active += active

    def point(self, tokens: int, width: int, dead_share: float) -> TrainingPoint:
        """The means of the interval."""
        return TrainingPoint(
            tokens, "train", self.loss / self.rows / width, self.error / self.variance, self.active / self.rows,
            dead_share,
        )  # fmt: skip


@torch.no_grad()
def validation_point(
    autoencoder: SparseAutoencoder, rows: Float[Tensor, "rows m"], tokens: int, scale: float, dead_share: float
) -> TrainingPoint:
    """What the autoencoder, as it would be kept now, makes of rows of h."""
    h = rows.float()
    z = autoencoder.encode(h)
    error = float((h - autoencoder.decode(z)).square().sum(1).mean())
    variance = float((h - h.mean(0)).square().sum(1).mean())
    l0 = float((z > 0).sum()) / len(h)
    return TrainingPoint(tokens, "validation", error * scale**2 / h.shape[1], error / variance, l0, dead_share)
