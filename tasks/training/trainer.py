"""Training one layer's SAE: initial weights fitted to data, then steps whose cost follows the active pairs (METHOD §6).

A trainer is a value that can be written down between any two steps and read back to go on bitwise the same: all its
randomness is in the initial weights and in the order of rows, and both follow from the plan's seed.
"""

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from store.errors import WorkbenchError
from tasks.dictionaries.sae import SparseAutoencoder
from tasks.training.curve import Interval, TrainingPoint, validation_point
from tasks.training.levels import Errors, at_codes, reconstruct
from tasks.training.machine import multiplies_bfloat16_fast
from tasks.training.objectives import Codes, Gradients, TopK, more_weights, objective_of
from tasks.training.pairs import ByFeature
from tasks.training.plan import POINTS, TrainingPlan
from tasks.training.revival import Revival, dead_features, revive
from tasks.training.weights import BETAS, Adam, Moments, Weights, fitting_scale

_FIT_ROWS = 4096
_STRETCH_ENTRIES = {"cpu": 1 << 21, "cuda": 1 << 28}
"""Entries of a weight whose gradient is held at once, by device."""


THRESHOLD_MEMORY = 0.9
"""Adam's β₂ of `jumprelu`'s thresholds. Their gradient is large while L0 falls to its aim, and a tenth of that near
it: a long memory of the former leaves L0 wherever it fell to (20 % below, in runs of 140 steps)."""


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
    objective: TopK
    optimizer: Adam
    silent_for: Tensor
    """Tokens since each feature was last active."""
    position: Position = field(default_factory=Position)
    interval: Interval = field(default_factory=Interval)
    points: list[TrainingPoint] = field(default_factory=list)

    @classmethod
    def start(cls, layer: int, plan: TrainingPlan, rows: Float[Tensor, "rows m"]) -> "LayerTrainer":
        """Fit the initial weights to a sample of rows of h: unit decoder rows in random directions, the encoder
        along them and sized so that the first reconstruction is the best multiple of itself, b_dec the mean."""
        h = rows[:: max(1, len(rows) // _FIT_ROWS)].float()
        _refuse_bad(h, layer, 0)
        scale = fitting_scale(h)
        mean = h.mean(0) * scale
        x = h * scale - mean
        weights = Weights.random(plan.n_features, h.shape[1], plan.seed * 1_000_003 + layer, h.device)
        weights.more = more_weights(plan, weights, x)
        codes = objective_of(plan, weights, {}, screened=False).encode(x, 0.0)
        found = reconstruct(x, codes.pairs, codes.z, weights, [plan.n_features]).residual + x
        size = float((found * x).sum() / found.square().sum())
        weights.W_enc *= size
        weights.more = more_weights(plan, weights, x)
        weights.b_enc, weights.b_dec = -(weights.W_enc @ mean), mean.clone()
        silent_for = torch.zeros(plan.n_features, dtype=torch.long, device=h.device)
        return cls._ready(layer, plan, weights, scale, mean, {}, Adam.over(weights), silent_for)

    @classmethod
    def _ready(
        cls, layer: int, plan: TrainingPlan, weights: Weights, scale: float, mean: Tensor, kept: dict[str, Any],
        optimizer: Adam, silent_for: Tensor,
    ) -> "LayerTrainer":  # fmt: skip
        screened = multiplies_bfloat16_fast(mean.device)
        objective = objective_of(plan, weights, kept, screened=screened)
        return cls(layer, plan, weights, scale, mean, objective, optimizer, silent_for)

    @property
    def share(self) -> float:
        """How much of the run is done."""
        return self.position.rows / self.plan.total_rows

    @torch.no_grad()
    def step(self, rows: Float[Tensor, "rows m"]) -> None:
        """One step of Adam on rows of h. Rows that are not finite are refused before anything moves."""
        x = torch.mul(rows, self.scale) if rows.dtype == torch.float32 else rows.float().mul_(self.scale)
        variance = self._variance(x)
        if not variance < torch.inf:
            _refuse_bad(rows, self.layer, self.position.rows)
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.plan.precision == "bfloat16"):
            codes = self.objective.encode(x, self.share)
            ends = self.plan.level_ends
            errors = reconstruct(x, codes.pairs, codes.z, self.weights, ends)
            order = ByFeature.of(codes.pairs)
            at_z = at_codes(errors, codes.pairs, self.weights, ends)
            gradients = self.objective.gradients(x, codes, order, at_z)
            revival = self._revival(x, errors)
            self._update(x, codes, errors, order, gradients, revival)
        self._count(codes, errors, variance, len(x))

    def dead_share(self) -> float:
        """Share of features that were active on none of the last `plan.dead_window` tokens."""
        return float((self.silent_for >= self.plan.dead_window).double().mean())

    def train_point_due(self) -> bool:
        """Whether the next point of the curves has been reached."""
        due = sum(point.split == "train" for point in self.points) + 1
        return self.share >= min(1.0, due / POINTS)

    def add_points(self, validation: Float[Tensor, "rows m"]) -> None:
        """Close the interval with a training point, and measure the same on `validation` rows of h."""
        dead, at = self.dead_share(), self.position.rows
        self.points.append(self.interval.point(at, len(self.mean), dead))
        self.interval = Interval()
        if len(validation):
            self.points.append(validation_point(self.autoencoder(), validation, at, self.scale, dead))

    @torch.no_grad()
    def autoencoder(self) -> SparseAutoencoder:
        """The SAE so far, with the scale folded in: it reads and writes raw h."""
        weights, k, threshold = self.objective.inference()
        return SparseAutoencoder(
            layer=self.layer,
            W_enc=weights.W_enc * self.scale,
            b_enc=weights.b_enc.clone(),
            W_dec=weights.W_dec / self.scale,
            b_dec=weights.b_dec / self.scale,
            k=k,
            n_features=self.plan.n_features,
            threshold=threshold,
        )

    def rest(self) -> None:
        """Let go of the memory that only a step needs."""
        self.objective.encoder.release()

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Everything that the next step depends on: tensors, and text for what is not a tensor."""
        tensors = {"mean": self.mean, "silent_for": self.silent_for}
        for name, weight in self.weights.named().items():
            tensors[name] = weight
            if not self.position.finished:
                held = self.optimizer.moments[name]
                tensors |= {f"{name}.mean": held.mean, f"{name}.square": held.square}
        text = {
            "scale": self.scale,
            "steps": self.optimizer.steps,
            "objective": self.objective.state(),
            "position": asdict(self.position),
            "interval": asdict(self.interval),
            "points": [asdict(point) for point in self.points],
        }
        return tensors, {"state": json.dumps(text)}

    @classmethod
    def resume(cls, layer: int, plan: TrainingPlan, tensors: dict[str, Tensor], text: dict[str, str]) -> "LayerTrainer":
        """The trainer whose `state` this was."""
        state: dict[str, Any] = json.loads(text["state"])
        names = [name for name in tensors if "." not in name and name not in ("mean", "silent_for")]
        basic = ("W_enc", "b_enc", "W_dec", "b_dec")
        weights = Weights(
            **{name: tensors[name] for name in basic}, more={name: tensors[name] for name in names if name not in basic}
        )
        optimizer = (
            Adam.over(weights)
            if state["position"]["finished"]
            else Adam({name: Moments(tensors[f"{name}.mean"], tensors[f"{name}.square"]) for name in names})
        )
        optimizer.steps = state["steps"]
        trainer = cls._ready(
            layer, plan, weights, state["scale"], tensors["mean"], state["objective"], optimizer, tensors["silent_for"]
        )
        trainer.position = Position(**state["position"])
        trainer.interval = Interval(**state["interval"])
        trainer.points = [TrainingPoint(**point) for point in state["points"]]
        return trainer

    def _revival(self, x: Tensor, errors: Errors) -> Revival | None:
        """What the dead features learn from this batch, if there are any."""
        dead = dead_features(self.silent_for, self.plan.dead_window)
        if not len(dead) or not self.plan.revival_weight:
            return None
        return revive(x, errors.residual, self.weights, dead, x.shape[1] // 2, self.plan.revival_weight)

    def _update(
        self, x: Tensor, codes: Codes, errors: Errors, order: ByFeature, gradients: Gradients, revival: Revival | None
    ) -> None:
        """Adam, a stretch of features at a time."""
        self.optimizer.begin(self.plan.learning_rate_at(self.share))
        sorted_z = codes.z[order.order] * (2.0 / len(x))
        sorted_scores = gradients.scores[order.order]
        for level, first, last in self._stretches():
            rows = slice(first, last)
            at_decoder = order.sums(sorted_z, errors.answered[level], first, last)
            at_encoder = order.sums(sorted_scores, x, first, last)
            if revival is not None:
                revival.add_to(at_decoder, "W_dec", first)
                revival.add_to(at_encoder, "W_enc", first)
            self._move_decoder(at_decoder, rows, gradients.W_dec_norm)
            self.optimizer.move("W_enc", self.weights.W_enc[rows], at_encoder, rows)
        at_bias = gradients.b_enc
        if revival is not None:
            at_bias = at_bias.index_add(0, revival.features, revival.b_enc)
        self.optimizer.move("b_enc", self.weights.b_enc, at_bias)
        self.optimizer.move("b_dec", self.weights.b_dec, errors.answered[0].sum(0) * (2.0 / len(x)))
        for name, gradient in gradients.more.items():
            pace, memory = (self.plan.threshold_pace, THRESHOLD_MEMORY) if name == "log_threshold" else (1.0, BETAS[1])
            self.optimizer.move(name, self.weights.more[name], gradient, pace=pace, memory=memory)

    def _move_decoder(self, gradient: Tensor, rows: slice, at_norm: Tensor | None) -> None:
        """Rows on the unit sphere move along it."""
        decoder = self.weights.W_dec[rows]
        if self.plan.unit_decoder:
            gradient.addcmul_(torch.linalg.vecdot(gradient, decoder)[:, None], decoder, value=-1.0)
        elif at_norm is not None:
            gradient.addcdiv_(at_norm[rows, None] * decoder, torch.linalg.vector_norm(decoder, dim=1, keepdim=True))
        self.optimizer.move("W_dec", decoder, gradient, rows)
        if self.plan.unit_decoder:
            decoder /= torch.linalg.vector_norm(decoder, dim=1, keepdim=True)

    def _stretches(self) -> list[tuple[int, int, int]]:
        """(level, first, last) of stretches of features whose gradients are held at once."""
        entries = _STRETCH_ENTRIES.get(self.mean.device.type, _STRETCH_ENTRIES["cpu"])
        step = max(1, entries // len(self.mean))
        levels = enumerate(pairwise([0, *self.plan.level_ends]))
        return [
            (level, first, min(first + step, end))
            for level, (begin, end) in levels
            for first in range(begin, end, step)
        ]

    def _variance(self, x: Float[Tensor, "rows m"]) -> float:
        """Σ ‖x - mean‖²."""
        squares = torch.linalg.vector_norm(x).double().square() - 2 * (x @ self.mean).sum()
        return float(squares + len(x) * self.mean.square().sum())

    def _count(self, codes: Codes, errors: Errors, variance: float, n: int) -> None:
        """Add a batch to the interval and to what is known of each feature's silence."""
        active = codes.pairs.features[codes.z > 0]
        fired = torch.bincount(active, minlength=self.plan.n_features)
        self.silent_for = torch.where(fired > 0, 0, self.silent_for + n)
        self.position.rows += n
        error = float(torch.linalg.vector_norm(errors.residual).square())
        self.interval.add(n, n * (errors.loss + codes.penalty), error, variance, len(active))


def _refuse_bad(rows: Float[Tensor, "rows m"], layer: int, seen: int) -> None:
    """Stop at activations that are no numbers: nothing has been moved by them."""
    bad = int((~torch.isfinite(rows).all(1)).sum())
    if bad:
        raise WorkbenchError(
            f"{bad} of {len(rows)} activations of layer {layer} are not finite, in the batch after {seen} tokens",
            "the last checkpoint is sound; run the model in float32 or bfloat16, or capture again",
        )
