"""Training one layer's SAE: initial weights fitted to data, Adam with warm-up and decay, unit decoder rows (METHOD §6).

A trainer is a value that can be written down between any two steps and read back to go on bitwise the same: all its
randomness is in the initial weights and in the order of rows, and both follow from the plan's seed.
"""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.dictionaries.objectives import Reconstruction, Weights, reconstruct_l1, reconstruct_topk, revival_loss
from tasks.dictionaries.sae import SparseAutoencoder

WARM_UP_SHARE = 0.05
"""Share of the run over which the learning rate rises."""
DECAY_SHARE = 0.4
"""Share of the run, at its end, over which it falls to zero."""
DEAD_WINDOW_SHARE = 0.1
"""A feature is dead if it was active on no token of the last such share of the run."""
POINTS = 50
"""Training points a run."""
_REVIVAL_WEIGHT = 1 / 32
_COEFFICIENT_WARM_UP_SHARE = 0.2
_FIT_ROWS = 4096


@dataclass(frozen=True)
class TrainingPlan:
    """What decides the outcome of one layer's training, beside its rows."""

    objective: Literal["topk", "l1"]
    n_features: int
    k: int
    l1_coefficient: float
    batch_size: int
    learning_rate: float
    seed: int
    total_rows: int
    """Rows of the whole run, epochs counted."""

    @property
    def dead_window(self) -> int:
        """Tokens without an activation after which a feature counts as dead."""
        return math.ceil(DEAD_WINDOW_SHARE * self.total_rows)

    def learning_rate_at(self, share: float) -> float:
        """The learning rate after `share` of the run."""
        rise = min(1.0, share / WARM_UP_SHARE + 0.05)
        return self.learning_rate * rise * min(1.0, max(0.0, (1.0 - share) / DECAY_SHARE))


@dataclass(frozen=True)
class TrainingPoint:
    """One point of the curves: what a row of table `training_point` holds."""

    tokens: int
    split: Literal["train", "validation"]
    loss: float
    """(‖x − x̂‖² + penalty) / m, x scaled so that E‖x‖² = m."""
    fvu: float
    l0: float
    dead_share: float


@dataclass
class Interval:
    """Sums since the last training point."""

    rows: int = 0
    loss: float = 0.0
    error: float = 0.0
    variance: float = 0.0
    active: float = 0.0


@dataclass
class Position:
    """Where in its rows a trainer is."""

    round: int = 0
    step: int = 0
    """Steps done in this round."""
    rows: int = 0
    """Rows seen in the whole run."""
    wall_s: float = 0.0
    cpu_s: float = 0.0
    finished: bool = False


@dataclass
class LayerTrainer:
    """The state of one layer's training."""

    layer: int
    plan: TrainingPlan
    weights: Weights
    scale: float
    """x = scale · h."""
    mean: Float[Tensor, " m"]
    """Of x, over the rows that the initial weights were fitted to."""
    optimizer: torch.optim.Adam
    silent_for: Tensor
    """Tokens since each feature was last active."""
    position: Position = field(default_factory=Position)
    interval: Interval = field(default_factory=Interval)
    points: list[TrainingPoint] = field(default_factory=list)

    @classmethod
    def start(cls, layer: int, plan: TrainingPlan, rows: Float[Tensor, "rows m"]) -> "LayerTrainer":
        """Fit the initial weights to a sample of rows of h: unit decoder rows in random directions, the encoder
        along them and sized so that the first reconstruction is the best multiple of itself, b_dec the mean."""
        h = rows[_spread(len(rows), _FIT_ROWS)].float()
        scale = math.sqrt(h.shape[1] / float(h.square().sum(1).mean()))
        x = h * scale
        mean = x.mean(0)
        generator = torch.Generator().manual_seed(plan.seed * 1_000_003 + layer)
        decoder = torch.randn(plan.n_features, h.shape[1], generator=generator).to(h.device)
        decoder /= decoder.norm(dim=1, keepdim=True)
        centred = Weights(decoder, decoder.new_zeros(plan.n_features), decoder, torch.zeros_like(mean))
        first = _reconstruct(x - mean, centred, plan, 0.0).x_hat
        size = float((first * (x - mean)).sum() / first.square().sum())
        encoder = decoder * size
        weights = Weights(encoder, -(encoder @ mean), decoder.clone(), mean.clone())
        silent_for = torch.zeros(plan.n_features, dtype=torch.long, device=h.device)
        return cls(layer, plan, weights, scale, mean, _adam(weights), silent_for)

    @property
    def share(self) -> float:
        """How much of the run is done."""
        return self.position.rows / self.plan.total_rows

    def step(self, rows: Float[Tensor, "rows m"]) -> None:
        """One step of Adam on rows of h."""
        x = rows.float() * self.scale
        found = _reconstruct(x, self.weights, self.plan, self.share)
        residual = found.x_hat.detach() - x
        error = float(torch.linalg.vector_norm(residual).square()) / len(x)
        extra = found.penalty + self._revival(x, residual)
        at_x_hat = residual * (2.0 / len(x))
        torch.autograd.backward([found.x_hat, extra], [at_x_hat, torch.ones_like(extra)])
        self._update()
        self._count(x, found, error)

    def dead_share(self) -> float:
        """Share of features that were active on none of the last `plan.dead_window` tokens."""
        return float((self.silent_for >= self.plan.dead_window).double().mean())

    def train_point_due(self) -> bool:
        """Whether the next point of the curves has been reached."""
        due = sum(point.split == "train" for point in self.points) + 1
        return self.share >= min(1.0, due / POINTS)

    def add_points(self, validation: Float[Tensor, "rows m"]) -> None:
        """Close the interval with a training point, and measure the same on `validation` rows of h."""
        done, width = self.interval, len(self.mean)
        dead = self.dead_share()
        tokens = self.position.rows
        self.points.append(
            TrainingPoint(
                tokens,
                "train",
                done.loss / done.rows / width,
                done.error / done.variance,
                done.active / done.rows,
                dead,
            )
        )
        self.interval = Interval()
        if len(validation):
            self.points.append(self._validation_point(validation, dead))

    @torch.no_grad()
    def autoencoder(self) -> SparseAutoencoder:
        """The SAE so far, with the scale folded in: it reads and writes raw h."""
        plan, weights = self.plan, self.weights
        return SparseAutoencoder(
            layer=self.layer,
            W_enc=weights.W_enc.detach() * self.scale,
            b_enc=weights.b_enc.detach().clone(),
            W_dec=weights.W_dec.detach() / self.scale,
            b_dec=weights.b_dec.detach() / self.scale,
            k=plan.k if plan.objective == "topk" else None,
            n_features=plan.n_features,
        )

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Everything that the next step depends on: tensors, and text for what is not a tensor."""
        tensors = {"mean": self.mean, "silent_for": self.silent_for}
        for name, weight in self.weights.named().items():
            tensors[name] = weight.detach()
            if not self.position.finished:
                tensors |= {f"{name}.{key}": value for key, value in self.optimizer.state[weight].items()}
        text = {
            "scale": self.scale,
            "position": asdict(self.position),
            "interval": asdict(self.interval),
            "points": [asdict(point) for point in self.points],
        }
        return tensors, {"state": json.dumps(text)}

    @classmethod
    def resume(cls, layer: int, plan: TrainingPlan, tensors: dict[str, Tensor], text: dict[str, str]) -> "LayerTrainer":
        """The trainer whose `state` this was."""
        state: dict[str, Any] = json.loads(text["state"])
        names = ("W_enc", "b_enc", "W_dec", "b_dec")
        weights = Weights(**{name: tensors[name] for name in names})
        optimizer = _adam(weights)
        for name, weight in weights.named().items():
            kept = {
                key: tensors[f"{name}.{key}"] for key in ("step", "exp_avg", "exp_avg_sq") if f"{name}.{key}" in tensors
            }
            if kept:
                optimizer.state[weight] = kept
        return cls(
            layer,
            plan,
            weights,
            state["scale"],
            tensors["mean"],
            optimizer,
            tensors["silent_for"],
            Position(**state["position"]),
            Interval(**state["interval"]),
            [TrainingPoint(**point) for point in state["points"]],
        )

    def _revival(self, x: Tensor, residual: Tensor) -> Tensor:
        """The weighted aux-k loss, if there are dead features to revive."""
        dead = (self.silent_for >= self.plan.dead_window).nonzero()[:, 0]
        if not len(dead):
            return x.new_zeros((), requires_grad=True)
        return _REVIVAL_WEIGHT * revival_loss(x, -residual, self.weights, dead, x.shape[1] // 2)

    @torch.no_grad()
    def _update(self) -> None:
        """Adam, with decoder rows kept on the unit sphere and their gradient tangent to it."""
        decoder = self.weights.W_dec
        assert decoder.grad is not None
        decoder.grad.addcmul_(torch.linalg.vecdot(decoder.grad, decoder)[:, None], decoder, value=-1.0)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.learning_rate_at(self.share)
        self.optimizer.step()
        self.optimizer.zero_grad()
        decoder /= decoder.norm(dim=1, keepdim=True)

    @torch.no_grad()
    def _count(self, x: Tensor, found: Reconstruction, error: float) -> None:
        """Add a batch to the interval and to what is known of each feature's silence."""
        n = len(x)
        fired = found.fired(self.plan.n_features)
        self.silent_for = torch.where(fired > 0, 0, self.silent_for + n)
        self.position.rows += n
        self.interval.rows += n
        self.interval.loss += (error + float(found.penalty.detach())) * n
        self.interval.error += error * n
        squares = torch.linalg.vector_norm(x).double().square() - 2 * (x @ self.mean).sum() + n * self.mean @ self.mean
        self.interval.variance += float(squares)
        self.interval.active += float(fired.sum())

    @torch.no_grad()
    def _validation_point(self, rows: Tensor, dead: float) -> TrainingPoint:
        x = rows.float() * self.scale
        found = _reconstruct(x, self.weights, self.plan, self.share)
        error = float((x - found.x_hat).square().sum(1).mean())
        variance = float((x - x.mean(0)).square().sum(1).mean())
        loss = (error + float(found.penalty.detach())) / x.shape[1]
        l0 = float(found.fired(self.plan.n_features).sum()) / len(x)
        return TrainingPoint(self.position.rows, "validation", loss, error / variance, l0, dead)


def _reconstruct(x: Tensor, weights: Weights, plan: TrainingPlan, share: float) -> Reconstruction:
    if plan.objective == "topk":
        return reconstruct_topk(x, weights, plan.k)
    return reconstruct_l1(x, weights, plan.l1_coefficient * min(1.0, share / _COEFFICIENT_WARM_UP_SHARE))


def _adam(weights: Weights) -> torch.optim.Adam:
    parameters = [weight.requires_grad_(True) for weight in weights.named().values()]
    return torch.optim.Adam(parameters, lr=0.0, betas=(0.9, 0.999), fused=True)


def _spread(n: int, wanted: int) -> slice:
    """About `wanted` of n rows, evenly spread."""
    return slice(None, None, max(1, n // wanted))
