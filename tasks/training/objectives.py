"""What an SAE is trained to do: which pairs are active, what they cost, and how that moves the encoder (METHOD §6).

Each objective finds the pairs of a batch and their codes z, and turns the gradient of the loss in z into that of the
scores. All of them end in a form that inference knows: the k largest (`topk`), all positive ones (`l1`), or all above
a feature's threshold (the others).

Sources: TopK and aux-k, Gao et al. 2024 (arXiv 2406.04093); BatchTopK, Bussmann et al. 2024 (2412.06410); Matryoshka,
Bussmann et al. 2025 (2503.17547); JumpReLU, Rajamanoharan et al. 2024 (2407.14435); gated, Rajamanoharan et al. 2024
(2404.16014).
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from tasks.training.encoder import Encoder, Scored
from tasks.training.pairs import ByFeature, Pairs, decode, dots
from tasks.training.plan import TrainingPlan
from tasks.training.weights import Weights

_AVERAGED_SHARE = 0.05
"""Share of the run over which the inference threshold of `batchtopk` is averaged."""
_GUESS_ROWS = 256
_LOWERED = 0.8


@dataclass(frozen=True)
class Gradients:
    """Of the loss: in the scores of the pairs, and in what the objective trains beside the four tensors."""

    scores: Float[Tensor, " pairs"]
    b_enc: Float[Tensor, " n_features"]
    more: dict[str, Float[Tensor, " n_features"]] = field(default_factory=dict)
    W_dec_norm: Float[Tensor, " n_features"] | None = None
    """In the norm of each decoder row, where these are free."""


@dataclass(frozen=True)
class Codes:
    """One batch's pairs and z. Pairs may have z = 0, where an objective must know how near they are."""

    pairs: Pairs
    z: Float[Tensor, " pairs"]
    penalty: float
    """What the loss has beside the squared error, mean over rows."""


class Objective(Protocol):
    """How one of `OBJECTIVES` trains."""

    def encode(self, x: Float[Tensor, "rows m"], share: float) -> Codes:
        """The codes of a batch, after `share` of the run."""

    def gradients(
        self, x: Float[Tensor, "rows m"], codes: Codes, order: ByFeature, at_z: Float[Tensor, " pairs"]
    ) -> Gradients:
        """From the gradient of the squared error in z."""

    def inference(self) -> tuple[Weights, int | None, Float[Tensor, " n_features"] | None]:
        """What stays: weights whose scores are the codes, k, threshold."""

    def state(self) -> dict[str, Any]:
        """What it remembers from step to step, for `objective_of`."""


@dataclass
class TopK:
    """The k largest scores of each row, where they are positive."""

    plan: TrainingPlan
    weights: Weights
    encoder: Encoder

    def encode(self, x: Float[Tensor, "rows m"], share: float) -> Codes:
        """See `Objective`."""
        return _positive(self.encoder.largest(x, self.weights.b_enc, self.plan.k))

    def gradients(
        self, x: Float[Tensor, "rows m"], codes: Codes, order: ByFeature, at_z: Float[Tensor, " pairs"]
    ) -> Gradients:
        """See `Objective`."""
        return Gradients(at_z, order.totals(at_z))

    def inference(self) -> tuple[Weights, int | None, Float[Tensor, " n_features"] | None]:
        """See `Objective`."""
        return self.weights, self.plan.k, None

    def state(self) -> dict[str, Any]:
        """Nothing."""
        return {}


@dataclass
class L1(TopK):
    """Every positive score, at λ · mean Σ z ‖decoder row‖."""

    _weight: float = 0.0

    def encode(self, x: Float[Tensor, "rows m"], share: float) -> Codes:
        """See `Objective`."""
        self._weight = self.plan.l1_coefficient * self.plan.penalty_at(share)
        found = _positive(self.encoder.above(x, self.weights.b_enc, 0.0))
        norms = self._norms()[found.pairs.features]
        return Codes(found.pairs, found.z, self._weight * float(found.z.dot(norms)) / len(x))

    def gradients(
        self, x: Float[Tensor, "rows m"], codes: Codes, order: ByFeature, at_z: Float[Tensor, " pairs"]
    ) -> Gradients:
        """See `Objective`."""
        at_score = at_z + self._norms()[codes.pairs.features] * (self._weight / len(x))
        at_norm = None if self.plan.unit_decoder else order.totals(codes.z) * (self._weight / len(x))
        return Gradients(at_score, order.totals(at_score), W_dec_norm=at_norm)

    def inference(self) -> tuple[Weights, int | None, Float[Tensor, " n_features"] | None]:
        """See `Objective`."""
        return self.weights, None, None

    def _norms(self) -> Tensor:
        norms: Tensor = torch.linalg.vector_norm(self.weights.W_dec, dim=1)
        return norms


@dataclass
class BatchTopK(TopK):
    """The k · rows largest scores of the batch; inference keeps what is above the average of the batches' smallest."""

    threshold: float = 0.0
    """Of inference: the running average."""
    floor: float = 0.0
    """The last batch's smallest code: where the next search starts."""
    rows: int = 0

    def encode(self, x: Float[Tensor, "rows m"], share: float) -> Codes:
        """See `Objective`."""
        wanted = self.plan.k * len(x)
        floor = _LOWERED * self.floor if self.rows else self._guess(x)
        found = self.encoder.above(x, self.weights.b_enc, max(floor, 0.0))
        while found.pairs.n_pairs < wanted and floor > 0.0:
            floor = floor * _LOWERED if floor > 1e-3 * self.floor else 0.0
            found = self.encoder.above(x, self.weights.b_enc, floor)
        if found.pairs.n_pairs > wanted:
            kept = found.scores.topk(wanted, sorted=False).indices.sort().values
            chosen = torch.zeros_like(found.scores, dtype=torch.bool).index_fill_(0, kept, True)
            found = Scored(found.pairs.only(chosen), found.scores[chosen])
        codes = _positive(found)
        if codes.pairs.n_pairs:
            self._remember(float(codes.z.min()), len(x))
        return codes

    def inference(self) -> tuple[Weights, int | None, Float[Tensor, " n_features"] | None]:
        """See `Objective`."""
        return self.weights, None, torch.full_like(self.weights.b_enc, self.threshold)

    def state(self) -> dict[str, Any]:
        """The averages."""
        return {"threshold": self.threshold, "floor": self.floor, "rows": self.rows}

    def _guess(self, x: Tensor) -> float:
        """A floor below the smallest code, from some rows."""
        some = x[:_GUESS_ROWS]
        scores = self.encoder.largest(some, self.weights.b_enc, min(2 * self.plan.k, self.plan.n_features)).scores
        return float(scores.min())

    def _remember(self, smallest: float, n: int) -> None:
        part = min(1.0, n / (_AVERAGED_SHARE * self.plan.total_rows)) if self.rows else 1.0
        self.threshold += part * (smallest - self.threshold)
        self.floor, self.rows = smallest, self.rows + n


@dataclass
class JumpReLU(TopK):
    """Every score above its feature's threshold θ, at λ m (L0 / k - 1)²; θ learns through a kernel of some width."""

    _at_l0: float = 0.0
    """Gradient of the penalty in one active pair."""

    def encode(self, x: Float[Tensor, "rows m"], share: float) -> Codes:
        """Pairs within half a kernel below θ are there too, with z = 0."""
        threshold = self._threshold
        found = self.encoder.above(x, self.weights.b_enc - threshold, -self.plan.bandwidth / 2)
        scores = found.scores + threshold[found.pairs.features]
        z = torch.where((found.scores > 0) & (scores > 0), scores, 0.0)
        excess = float((z > 0).sum()) / (len(x) * self.plan.k) - 1.0
        weight = self.plan.l0_coefficient * x.shape[1] * self.plan.penalty_at(share)
        self._at_l0 = weight * 2 * excess / (self.plan.k * len(x))
        self._over = found.scores
        return Codes(found.pairs, z, weight * excess**2)

    def gradients(
        self, x: Float[Tensor, "rows m"], codes: Codes, order: ByFeature, at_z: Float[Tensor, " pairs"]
    ) -> Gradients:
        """∂z/∂θ = -θ K/ε and ∂L0/∂θ = -K/ε, K the kernel; θ = exp of what is trained."""
        at_score = torch.where(codes.z > 0, at_z, 0.0)
        threshold = self._threshold[codes.pairs.features]
        near = (self._over.abs() < self.plan.bandwidth / 2).to(x.dtype)
        at_threshold = -(at_z * threshold + self._at_l0) * near / self.plan.bandwidth
        return Gradients(at_score, order.totals(at_score), {"log_threshold": order.totals(at_threshold * threshold)})

    def inference(self) -> tuple[Weights, int | None, Float[Tensor, " n_features"] | None]:
        """See `Objective`."""
        return self.weights, None, self._threshold.clone()

    @property
    def _threshold(self) -> Tensor:
        return self.weights.more["log_threshold"].exp()


@dataclass
class Gated(TopK):
    """A gate w·x + b > 0 that pays L1 and must itself reconstruct, and a magnitude exp(r) w·x + c behind it."""

    _weight: float = 0.0

    def encode(self, x: Float[Tensor, "rows m"], share: float) -> Codes:
        """Pairs whose gate is open."""
        self._weight = self.plan.l1_coefficient * self.plan.penalty_at(share)
        found = _positive(self.encoder.above(x, self.weights.b_enc, 0.0))
        pairs, gate = found.pairs, found.z
        at_gate = decode(pairs, gate, self.weights.W_dec) + self.weights.b_dec - x
        self._gate, self._at_gate = gate, at_gate
        error = float(torch.linalg.vector_norm(at_gate).square()) / len(x)
        z = (self._gain[pairs.features] * self._raw(pairs) + self.weights.more["magnitude_bias"][pairs.features]).relu()
        return Codes(pairs, z, error + self._weight * float(gate.sum()) / len(x))

    def gradients(
        self, x: Float[Tensor, "rows m"], codes: Codes, order: ByFeature, at_z: Float[Tensor, " pairs"]
    ) -> Gradients:
        """The magnitude's, where it is positive; the gate's from its own reconstruction (decoder held) and L1."""
        at_magnitude = torch.where(codes.z > 0, at_z, 0.0)
        at_gate = dots(codes.pairs, self._at_gate, self.weights.W_dec) * (2.0 / len(x)) + self._weight / len(x)
        scaled = at_magnitude * self._gain[codes.pairs.features]
        more = {
            "log_gain": order.totals(scaled * self._raw(codes.pairs)),
            "magnitude_bias": order.totals(at_magnitude),
        }
        return Gradients(at_gate + scaled, order.totals(at_gate), more)

    def inference(self) -> tuple[Weights, int | None, Float[Tensor, " n_features"] | None]:
        """The gate opens just where the magnitude's score is above c - exp(r) b."""
        held, gain, bias = self.weights, self._gain, self.weights.more["magnitude_bias"]
        folded = Weights(held.W_enc * gain[:, None], bias.clone(), held.W_dec, held.b_dec)
        return folded, None, (bias - gain * held.b_enc).clamp_min(0.0)

    @property
    def _gain(self) -> Tensor:
        return self.weights.more["log_gain"].exp()

    def _raw(self, pairs: Pairs) -> Tensor:
        """w·x of the pairs."""
        return self._gate - self.weights.b_enc[pairs.features]


_KINDS: dict[str, type[TopK]] = {
    "topk": TopK, "batchtopk": BatchTopK, "matryoshka": BatchTopK, "jumprelu": JumpReLU, "gated": Gated, "l1": L1,
}  # fmt: skip


def objective_of(plan: TrainingPlan, weights: Weights, state: dict[str, Any], *, screened: bool) -> TopK:
    """The plan's objective on these weights, with what it remembered. `screened`: see `Encoder`."""
    rounded = plan.precision == "bfloat16"
    encoder = Encoder(weights.W_enc, screened=screened and not rounded, rounded=rounded)
    return _KINDS[plan.objective](plan, weights, encoder, **state)


def more_weights(plan: TrainingPlan, weights: Weights, x: Float[Tensor, "rows m"]) -> dict[str, Tensor]:
    """What the objective trains beside the four tensors, at the start: twice as many features active as are aimed at
    (`jumprelu`), a magnitude like the gate (`gated`)."""
    if plan.objective == "gated":
        return {name: torch.zeros_like(weights.b_enc) for name in ("log_gain", "magnitude_bias")}
    if plan.objective != "jumprelu":
        return {}
    scores = Encoder(weights.W_enc, screened=False).largest(
        x[:_GUESS_ROWS], weights.b_enc, min(2 * plan.k, plan.n_features)
    )
    level = scores.scores.view(-1, min(2 * plan.k, plan.n_features)).amin(1).mean().clamp_min(1e-3)
    return {"log_threshold": level.log().expand_as(weights.b_enc).clone()}


def _positive(found: Scored) -> Codes:
    """z = relu(score), at the pairs where that is not 0."""
    positive = found.scores > 0
    if bool(positive.all()):
        return Codes(found.pairs, found.scores, 0.0)
    return Codes(found.pairs.only(positive), found.scores[positive], 0.0)
